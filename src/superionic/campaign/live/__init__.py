"""The live page of a campaign: its state, its failures and its report while a run is at work.

:mod:`~superionic.campaign.live.watcher` looks at the campaign time and again, and writes its report anew where there is
more to report; :mod:`~superionic.campaign.live.server` shows both in a browser of this machine.
"""

from __future__ import annotations
