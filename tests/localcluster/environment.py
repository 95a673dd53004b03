"""What a shell or a test needs to use the cluster."""

import shlex
from collections.abc import Mapping

from tests.localcluster.layout import Layout


def exports(layout: Layout) -> str:
    """Shell lines for eval."""
    programs, kubeconfig = shlex.quote(str(layout.programs)), shlex.quote(str(layout.kubeconfig))
    return f'export KUBECONFIG={kubeconfig}\nexport PATH={programs}:"$PATH"\n'


def variables(layout: Layout, current: Mapping[str, str]) -> dict[str, str]:
    """The same for a process: `current` with KUBECONFIG, and the cluster's programs first in PATH."""
    return {**current, "KUBECONFIG": str(layout.kubeconfig), "PATH": f"{layout.programs}:{current.get('PATH', '')}"}
