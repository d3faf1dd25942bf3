"""The core of training runs where Ray is not installed."""

import subprocess
import sys


def test_a_training_process_does_not_import_ray():
    code = "import sys, actors.train.on_torch.process; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
