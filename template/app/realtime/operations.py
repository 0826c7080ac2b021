"""`/healthz`, `/readyz` and `/metrics`: for orchestrators and monitoring."""

from fastapi import APIRouter, Response, status
from prometheus_client import CONTENT_TYPE_LATEST

from app.realtime.dependencies import Manager
from app.realtime.metrics import BROKER_UP, render

router = APIRouter(tags=["operations"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process serves requests. If it does not, restart it."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "The broker is unreachable"}})
async def readyz(manager: Manager, response: Response) -> dict[str, str]:
    """Messages travel through the broker. While they don't, send no new clients here."""
    if manager.broker_is_alive:
        return {"status": "ready"}
    response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return {"status": "broker unreachable"}


@router.get("/metrics")
async def metrics(manager: Manager) -> Response:
    """Metrics in the format of Prometheus. One answer covers every worker."""
    BROKER_UP.set(manager.broker_is_alive)
    return Response(render(), media_type=CONTENT_TYPE_LATEST)
