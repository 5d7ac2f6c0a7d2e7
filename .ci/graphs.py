"""Write the ONNX graphs of the shipped models anew, after a change of their networks.

python .ci/graphs.py
"""

from dataclasses import replace

from srkit_onnx.conversion import without_weights

from srkit import registry
from srkit.models.load import find


def main() -> None:
    """Convert every registered model that has a place for its graph."""
    for name in registry.offers("models"):
        if file := registry.build("models", name).graph:
            without_weights(replace(find(name), graph=None)).write(file)
            print(file)


if __name__ == "__main__":
    main()
