"""All cases, each by its name."""

from __future__ import annotations

from . import (
    _cases_clusters,
    _cases_corners,
    _cases_credentials,
    _cases_errors,
    _cases_handshake,
    _cases_js_consumers,
    _cases_js_kv,
    _cases_js_messages,
    _cases_js_restarts,
    _cases_js_streams,
    _cases_life,
    _cases_messages,
    _cases_permissions,
    _cases_reloads,
    _cases_requests,
    _cases_subscriptions,
)

CASES = (
    *_cases_handshake.CASES,
    *_cases_credentials.CASES,
    *_cases_messages.CASES,
    *_cases_subscriptions.CASES,
    *_cases_requests.CASES,
    *_cases_errors.CASES,
    *_cases_permissions.CASES,
    *_cases_reloads.CASES,
    *_cases_life.CASES,
    *_cases_clusters.CASES,
    *_cases_corners.CASES,
    *_cases_js_streams.CASES,
    *_cases_js_messages.CASES,
    *_cases_js_consumers.CASES,
    *_cases_js_restarts.CASES,
    *_cases_js_kv.CASES,
)
