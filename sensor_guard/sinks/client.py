"""The only module that speaks to InfluxDB: one write, one query, and what its answers mean.

influxdb-client is imported at the first use (it takes a second and 30 MB), its batching ``WriteApi`` is not used:
that one keeps points in memory, drops them after a few retries, and says so to a callback only. ``query`` uses
``call_api``, plumbing of the client that is not advertised but gives us its pool, TLS, timeout and token: InfluxQL
over /query is the only way to read that InfluxDB 1.8, 2.x and 3 Core share.
"""

import gzip
import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sensor_guard.errors import ConfigError
from sensor_guard.model import HOUR, SECOND, Span
from sensor_guard.sinks.protocol import SinkError, SinkFailure

if TYPE_CHECKING:
    from influxdb_client import InfluxDBClient  # type: ignore[attr-defined]

T = TypeVar("T")

DETAIL_LIMIT = 500
"""Longest text of a server that we keep, in characters."""

RETRY_AFTER_LIMIT: Span = HOUR
"""A longer Retry-After is taken for a mistake of a proxy and cut to this."""

# 1.x: "partial write: points beyond retention policy dropped=2"; 2.7: "partial write: dropped 2 points outside
# retention policy of duration 72h0m0s - ... dropped=2 for database: ...". All other points of the write are stored.
_EXPIRED = re.compile(r"(?:beyond|outside) retention policy.*dropped=(\d+)", re.DOTALL)
_MEANING: dict[int, SinkFailure] = {
    400: SinkFailure.REFUSED,
    408: SinkFailure.OUTAGE,
    413: SinkFailure.TOO_LARGE,
    422: SinkFailure.REFUSED,
    429: SinkFailure.OUTAGE,
    500: SinkFailure.SERVER_ERROR,
}


class InfluxConnection:
    """A lazily opened client. ``timeout``: of one request. ``read_token`` is asked again after a 401.

    So a rotated token takes effect without a restart. ``bucket``: "name", or "database/retention-policy".
    """

    def __init__(self, *, url: str, org: str, bucket: str, timeout: Span, read_token: Callable[[], str]) -> None:
        self._url = url
        self._org = org
        self._bucket = bucket
        self._timeout = timeout
        self._read_token = read_token
        self._client: InfluxDBClient | None = None

    def write(self, body: bytes) -> None:
        """Write lines with times in ns, and return once the server has said that it stored them.

        Raises:
            SinkError: it has not said so. What it stored all the same is not known.
        """
        from influxdb_client import WriteService  # type: ignore[attr-defined] # noqa: PLC0415 - see above

        # The client's own gzip is level 9: 20 ms for 5,000 lines where level 1 takes 4 and gives 11 % more.
        packed = gzip.compress(body, 1, mtime=0)

        def post(client: "InfluxDBClient") -> int:
            service = WriteService(client.api_client)  # type: ignore[no-untyped-call]
            _none, status, _headers = service.post_write_with_http_info(  # type: ignore[no-untyped-call]
                self._org, self._bucket, packed, precision="ns", content_encoding="gzip"
            )
            return int(status)

        status = self._call(post)
        # Every InfluxDB answers 204. A 200 with a page is a captive portal or another server at this address.
        if status != 204:
            raise SinkError(SinkFailure.OUTAGE, f"answered {status}, not 204: is this an InfluxDB?")

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Run one InfluxQL SELECT and give its series: name, tags, columns, values; times in ns.

        Raises:
            SinkError: no answer, or the server refuses the statement.
        """
        database, _, policy = self._bucket.partition("/")
        params = [("db", database), ("q", statement), ("epoch", "ns")]
        if policy:
            params.append(("rp", policy))

        def get(client: "InfluxDBClient") -> dict[str, Any]:
            # auth_settings must be empty: the client's own default asks for basic authentication and fails.
            answer: dict[str, Any] = client.api_client.call_api(  # type: ignore[no-untyped-call]
                "/query",
                "GET",
                query_params=params,
                header_params={"Accept": "application/json"},
                auth_settings=[],
                response_type="object",
                _return_http_data_only=True,
                async_req=False,
            )
            return answer

        answer = self._call(get)
        try:
            if "error" in answer:
                raise SinkError(SinkFailure.REFUSED, _clean(answer["error"]))
            result = answer["results"][0]
            if "error" in result:
                raise SinkError(SinkFailure.REFUSED, _clean(result["error"]))
            return list(result.get("series", ()))
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            raise SinkError(SinkFailure.OUTAGE, "the answer to /query is not InfluxDB's JSON") from error

    def close(self) -> None:
        """Close the connection; the next call opens a new one with the token read anew."""
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
            self._client = None

    def _call(self, request: "Callable[[InfluxDBClient], T]") -> T:
        """Make one request, and say every failure of it as a SinkError."""
        import urllib3.exceptions  # noqa: PLC0415 - comes with influxdb-client, as late as that
        from influxdb_client.rest import ApiException  # noqa: PLC0415 - likewise

        try:
            return request(self._connected())
        except ApiException as error:
            if error.status in (401, 403):
                self.close()
            raise failure_of(error.status or 0, str(error.body or error.reason or ""), error.headers or {}) from error
        except ConfigError as error:  # the secret's file is gone or empty
            raise SinkError(SinkFailure.MISCONFIGURED, _clean(error)) from error
        except UnicodeDecodeError as error:
            # A page in GBK from a captive portal; InfluxDB itself speaks UTF-8.
            raise SinkError(SinkFailure.OUTAGE, "the answer is not UTF-8: is this an InfluxDB?") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SinkError(SinkFailure.OUTAGE, _clean(f"{type(error).__name__}: {error}")) from error
        except ValueError:
            # http.client quotes the header in its message, and the header holds the token: neither text nor cause.
            detail = "the token or the url holds a character that HTTP does not allow"
            raise SinkError(SinkFailure.MISCONFIGURED, detail) from None

    def _connected(self) -> "InfluxDBClient":
        if self._client is None:
            from influxdb_client import InfluxDBClient  # type: ignore[attr-defined] # noqa: PLC0415 - see above

            self._client = InfluxDBClient(
                url=self._url,
                token=self._read_token(),
                org=self._org,
                timeout=self._timeout,
                retries=False,
                connection_pool_maxsize=1,
            )
        return self._client


def failure_of(status: int, body: str, headers: Mapping[str, str]) -> SinkError:
    """Say what an answer other than a success means. ``status`` 0: TLS failed before there was an answer."""
    detail = _clean(f"{status} {body}" if status else body)
    expired = _EXPIRED.search(body)
    if expired and status in (400, 422, 500):
        return SinkError(SinkFailure.EXPIRED, detail, dropped=int(expired[1]))
    # A redirect, an odd 2xx or 5xx comes from something in between; 401, 403, 404 and other 4xx from the server
    # itself, about our token, our bucket or our way of asking.
    fallback = SinkFailure.MISCONFIGURED if 400 <= status < 500 else SinkFailure.OUTAGE
    return SinkError(_MEANING.get(status, fallback), detail, retry_after=_retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> Span | None:
    """Read Retry-After: seconds, or a date, which counts from the answer's own Date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            asked = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))
        except (ValueError, TypeError):
            return None
        seconds = asked.total_seconds()
    # Also turns "nan", for which every comparison is false, into no wait at all.
    return min(RETRY_AFTER_LIMIT, round(seconds * SECOND)) if 0 < seconds < 1e9 else None


def _clean(text: object) -> str:
    """Cut a server's text to one line that may stand in a log and in an alarm."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text)[:DETAIL_LIMIT]).strip()
