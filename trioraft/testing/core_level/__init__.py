"""The consensus core alone under random schedules: no Trio, thousands of schedules a minute."""

from .schedule import ScheduleOutcome, run_schedule

__all__ = ["ScheduleOutcome", "run_schedule"]
