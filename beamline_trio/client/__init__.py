"""What users hold: `open_client`, `Client`, `Subscription`, `Message`, requests, serving, drain."""

from ._client import Client as Client
from ._drain import Drainable as Drainable
from ._drain import Serving as Serving
from ._drain import living as living
from ._encoder import PublishEncoder as PublishEncoder
from ._errors import NoRespondersError as NoRespondersError
from ._errors import SlowConsumerError as SlowConsumerError
from ._errors import UndeliveredError as UndeliveredError
from ._intake import MessageCallback as MessageCallback
from ._message import Message as Message
from ._message import NoReplySubjectError as NoReplySubjectError
from ._open import dialer_of as dialer_of
from ._open import open_client as open_client
from ._open import run_client as run_client
from ._replies import Replies as Replies
from ._replies import Sentinel as Sentinel
from ._replies import empty_payload as empty_payload
from ._serve import ERROR_CODE_HEADER as ERROR_CODE_HEADER
from ._serve import ERROR_HEADER as ERROR_HEADER
from ._serve import ERROR_HEADERS as ERROR_HEADERS
from ._serve import Handler as Handler
from ._serve import in_force as in_force
from ._serve import serve as serve
from ._subscription import Subscription as Subscription
