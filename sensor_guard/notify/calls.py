"""One call to a channel, whose faults are all said in one way."""

from collections.abc import Callable
from typing import TypeVar

import structlog

from sensor_guard.errors import NotifyError
from sensor_guard.notify.outcome import Reason, failure

T = TypeVar("T")

log = structlog.get_logger(__name__)


def called(call: Callable[[], T]) -> T:
    """Call the channel; a fault of its own must not end the thread unseen.

    Raises:
        NotifyError: the call failed, whatever way.
    """
    try:
        return call()
    except NotifyError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        # No traceback into the log: a renderer may add the frames' variables, and among them are number and token.
        log.error("notifier.crashed", reason=type(error).__name__)  # noqa: TRY400 - likewise
        raise failure(Reason.CRASHED) from None
