"""Metrics for Prometheus, read from the stages' statistics at scrape, and log records as JSON lines."""

from ._alerts import alert_rules as alert_rules
from ._alerts import dashboard as dashboard
from ._collector import CONTENT_TYPE as CONTENT_TYPE
from ._collector import Collector as Collector
from ._contract import EventContract as EventContract
from ._contract import LogContract as LogContract
from ._contract import LogLevel as LogLevel
from ._contract import MetricContract as MetricContract
from ._contract import MetricType as MetricType
from ._contract import load_contract as load_contract
from ._contract import load_event_contract as load_event_contract
from ._contract import load_log_contract as load_log_contract
from ._instance import Instance as Instance
from ._logs import JSONLogFormatter as JSONLogFormatter
from ._logs import TextLogFormatter as TextLogFormatter
from ._logs import redact as redact
