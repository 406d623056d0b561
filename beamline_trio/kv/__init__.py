"""Values by key, with revisions: JetStream's key-value buckets (ADR-8, ADR-48). Built on jetstream."""

from ._bucket import Bucket as Bucket
from ._buckets import bucket_names as bucket_names
from ._buckets import create_bucket as create_bucket
from ._buckets import delete_bucket as delete_bucket
from ._buckets import open_bucket as open_bucket
from ._configuration import BucketConfig as BucketConfig
from ._configuration import BucketStatus as BucketStatus
from ._entries import Entry as Entry
from ._entries import Operation as Operation
from ._errors import BucketExistsError as BucketExistsError
from ._errors import BucketNotFoundError as BucketNotFoundError
from ._errors import InvalidEntryError as InvalidEntryError
from ._errors import InvalidKeyError as InvalidKeyError
from ._errors import KeyExistsError as KeyExistsError
from ._errors import KeyNotFoundError as KeyNotFoundError
from ._errors import KeyValueError as KeyValueError
from ._errors import NotABucketError as NotABucketError
from ._errors import NotStoredError as NotStoredError
from ._errors import WrongRevisionError as WrongRevisionError
