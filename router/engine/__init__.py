"""The engine: takes leads, sells them, answers for them. It owns the routing state; everybody else asks it."""

from router.engine.engine import Engine
from router.engine.views import KnownRequest, LeadView, Refused, ReloadResult

__all__ = ["Engine", "KnownRequest", "LeadView", "Refused", "ReloadResult"]
