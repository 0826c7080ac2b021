"""`/healthz`, `/readyz` and `/metrics`: for orchestrators and monitoring."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST

from app.realtime.bearer import check_bearer
from app.realtime.dependencies import Manager
from app.realtime.metrics import BROKER_UP, render
from app.realtime.settings import RealtimeSettings

router = APIRouter(tags=["operations"])

MetricsToken = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(
        HTTPBearer(
            scheme_name="MetricsToken", auto_error=False, description="METRICS_TOKEN, if it is set."
        )
    ),
]


async def check_metrics_token(request: Request, token: MetricsToken) -> None:
    """Raises HTTP 401 if METRICS_TOKEN is set, and the request does not carry it."""
    settings: RealtimeSettings = request.app.state.settings
    if settings.metrics_token is not None:
        check_bearer(token, [settings.metrics_token], "METRICS_TOKEN")


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


@router.get(
    "/metrics",
    dependencies=[Depends(check_metrics_token)],
    responses={401: {"description": "METRICS_TOKEN is set, and the request does not carry it"}},
)
async def metrics(manager: Manager) -> Response:
    """Metrics in the format of Prometheus. One answer covers every worker."""
    BROKER_UP.set(manager.broker_is_alive)
    return Response(render(), media_type=CONTENT_TYPE_LATEST)
