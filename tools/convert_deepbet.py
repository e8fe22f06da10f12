#!/usr/bin/env python3
"""Makes assets/deepbet_f16.safetensors: the two networks of deepbet 1.0.2 (brain extraction, MIT licence) as f16 numbers.

    python3 tools/convert_deepbet.py                 downloads the wheel from PyPI by pip
    python3 tools/convert_deepbet.py deepbet.whl     reads a wheel that is there

Needs nothing but Python and pip. The wheel must have the hash below. It holds two TorchScript archives: zip files with a pickle
of the modules (data.pkl) and the numbers of each tensor (data/N). The pickle is read with its few constructors replaced, so
that no code of the archive runs. Tensors keep their names and shapes under the prefix "box." (finds the head's box) or
"brain." (finds the brain in the box), sorted by name. The licence text goes beside the weights.
"""
import hashlib
import io
import json
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "deepbet==1.0.2"
WHEEL_SHA256 = "1999e2ea00ec48f6233b95b96f3901a962d3f70431c63aeb985e8a49a198473c"
ARCHIVES = {"box": "data/models/bbox_model.pt", "brain": "data/models/model.pt"}
LICENCE = "deepbet-1.0.2.dist-info/LICENSE"
ASSETS = Path(__file__).resolve().parent.parent / "assets"


def main(arguments):
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(arguments[0]) if arguments else download(folder)
        content = wheel.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != WHEEL_SHA256:
        sys.exit(f"SHA-256 is {found}, expected {WHEEL_SHA256}: `{wheel}`")
    wheel = zipfile.ZipFile(io.BytesIO(content))
    tensors = {}
    for prefix, archive in ARCHIVES.items():
        for name, shape, numbers in parameters(wheel.read(archive)):
            tensors[f"{prefix}.{name}"] = (shape, numbers)
    write_safetensors(ASSETS / "deepbet_f16.safetensors", tensors)
    (ASSETS / "LICENSE-deepbet.txt").write_bytes(wheel.read(LICENCE))
    print(len(tensors), "tensors,", sum(len(numbers) for _, numbers in tensors.values()), "numbers")


def download(folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "-d", folder, WHEEL]
    subprocess.run(command, check=True)
    return next(Path(folder).glob("*.whl"))


class Module:
    """Stands for every class of the archive: keeps what the pickle sets."""

    def __setstate__(self, state):
        self.__dict__.update(state)


class Storage:
    """The name of a type of numbers."""

    def __init__(self, name):
        self.name = name


def parameters(archive):
    """Name, shape and numbers of each parameter of a TorchScript archive, sorted by name."""
    files = zipfile.ZipFile(io.BytesIO(archive))
    root = files.namelist()[0].split("/")[0]

    def tensor(storage, offset, shape, strides, *_):
        count = 1
        for side, stride in zip(reversed(shape), reversed(strides)):
            if side > 1 and stride != count:
                sys.exit(f"strides are {strides}, expected those of a dense tensor of shape {shape}")
            count *= side
        return shape, storage[offset:offset + count]

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if module == "torch._utils" and name.startswith("_rebuild_tensor"):
                return tensor
            if module == "torch":
                return Storage(name)
            if module == "collections" and name == "OrderedDict":
                return dict
            if module.startswith("__torch__"):
                return type(name, (Module,), {})
            if module == "torch.jit._pickle":
                return lambda values, *_: values
            sys.exit(f"unknown constructor {module}.{name}")

        def persistent_load(self, identity):
            kind, key = identity[1].name, identity[2]
            code = {"FloatStorage": "f", "LongStorage": "q"}[kind]
            raw = files.read(f"{root}/data/{key}")
            return struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw)

    with files.open(f"{root}/data.pkl") as content:
        network = Unpickler(content).load()

    def walk(module, prefix):
        for name, value in module.__dict__.items():
            if isinstance(value, Module):
                yield from walk(value, f"{prefix}{name}.")
            elif name in ("weight", "bias") and isinstance(value, tuple):
                yield (prefix + name, *value)

    return sorted(walk(network, ""))


def write_safetensors(path, tensors):
    """Length of the JSON header as u64, the header padded to a multiple of 8, the numbers."""
    header, offset, parts = {}, 0, []
    for name, (shape, numbers) in sorted(tensors.items()):
        raw = struct.pack(f"<{len(numbers)}e", *numbers)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        parts.append(raw)
    header["__metadata__"] = {"source": f"PyPI {WHEEL}, wheel SHA-256 {WHEEL_SHA256}"}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


if __name__ == "__main__":
    main(sys.argv[1:])
