"""Routes from a file: source, filter, transform by a small safe mapping, target.

_paths -> _templates, _conditions -> _mapping -> _route_file -> _build_router     what stands in the file; its router
"""

from ._build_router import MappedHandler as MappedHandler
from ._build_router import build_router as build_router
from ._conditions import Condition as Condition
from ._errors import MappingError as MappingError
from ._errors import RouteFileError as RouteFileError
from ._mapping import Mapping as Mapping
from ._paths import Input as Input
from ._paths import Path as Path
from ._paths import parse_path as parse_path
from ._route_file import FileRoute as FileRoute
from ._route_file import RouteFile as RouteFile
from ._route_file import load_route_file as load_route_file
from ._route_file import read_route_file as read_route_file
from ._templates import TextTemplate as TextTemplate
from ._templates import compile_template as compile_template
from ._templates import compile_text as compile_text
from ._templates import fill as fill
