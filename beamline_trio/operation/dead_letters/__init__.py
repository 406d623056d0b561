"""Dead letters looked at and replayed: what a router has given up, in the stream that keeps it.

_letter -> _place -> _replay        a letter as data; where letters are, and reading them in order; sending them again
"""

from ._letter import DeadLetterRecord as DeadLetterRecord
from ._letter import LetterFilter as LetterFilter
from ._letter import replay_headers as replay_headers
from ._letter import replay_id as replay_id
from ._place import DeadLetterPlace as DeadLetterPlace
from ._place import DeadLetterPlaceError as DeadLetterPlaceError
from ._place import find_place as find_place
from ._place import next_letter as next_letter
from ._replay import Replayed as Replayed
from ._replay import ReplayReport as ReplayReport
from ._replay import ReplayResult as ReplayResult
from ._replay import replay_letters as replay_letters
