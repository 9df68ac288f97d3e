"""What works from here, before a call needs it: ``rtcpeer doctor``, for Python.

``diagnosis = await diagnose(Plan(url="https://…", api_key=…))``, then ``diagnosis.ok`` and its findings. Nothing is
sent to anybody who is not named in the plan.
"""

from __future__ import annotations

from .finding import Diagnosis, Finding, Status
from .plan import Plan, diagnose

__all__ = ["Diagnosis", "Finding", "Plan", "Status", "diagnose"]
