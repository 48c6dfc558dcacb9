"""Opening sealed weights, 90 MB and 1 GB: what do a signature over every byte and decryption cost beside plain loading?

Run `python benchmarks/sealed_open.py`. Random int8, so that nothing can be compressed, in 30 tensors; page cache warm.
Every way is checked to give the right bytes before it is timed, and leaves arrays in private memory. In the same run:
the bare file, safetensors plain, safetensors under age, tensorizer encrypted, and the public model-signing tool alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import model_signing
import numpy as np
import pyrage
import safetensors.numpy
from cryptography.hazmat.primitives.asymmetric import ec
from numpy.typing import NDArray

from contenders import PYTHON
from intact import seal
from intact.graph import Program
from intact.seal.recipients import x25519
from memory import peak_bytes
from places import ROOT, work
from results import Results
from timing import Clocked, Plan, clocked, race

THREADS = 2
SIZES = {"90 MB": 90_000_000, "1 GB": 1_000_000_000}
PIECES = 30
PLANS = {
    "90 MB": Plan(warm=1, burst=1, rounds=25, budget_s=60),
    "1 GB": Plan(warm=0, burst=1, rounds=7, budget_s=120),
}
OURS, PLAIN, MAPPED = "intact, sealed and signed", "safetensors, private memory", "safetensors, mapped and touched"
BARE = "file read into private memory"
AGE, TENSORIZER = "safetensors under age", "tensorizer, encrypted"
VERIFY = {"blake3": "model-signing verify, BLAKE3", "sha256": "model-signing verify, SHA-256"}
TARGETS = {BARE: 2.0, PLAIN: 2.0, AGE: 1 / 5, TENSORIZER: 1 / 2}
"""Most that our time may be of a peer's."""

Arrays = dict[str, NDArray[Any]]


def main() -> None:
    """Write, check, time; with words, open once and say the peak memory."""
    if len(sys.argv) > 1:
        print(peak(Path(sys.argv[1])))
        return
    results = Results("sealed_open", THREADS)
    for case, size in SIZES.items():
        folder = work("sealed_open") / case.replace(" ", "")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tensors = weights(size)
        keys = prepare(folder, tensors)
        check(folder, keys, tensors)
        del tensors
        with ways(folder, keys, size) as found:
            times = race(found, PLANS[case])
        for name in times.calls_ms:
            summary = times.summary(name)
            results.add("opening", case=case, candidate=name, size_bytes=size, **summary, others=times.others)
        for peer, target in TARGETS.items():
            if peer in times.calls_ms:
                results.add("ratio", case=case, ours=OURS, peer=peer, **times.ratio(OURS, peer), target=target)
        extra = int(subprocess.check_output([sys.executable, __file__, str(folder)], text=True).split()[-1]) - size
        results.add("memory", case=case, beyond_weights_bytes=extra, target_bytes=64_000_000)
        shutil.rmtree(folder)
    results.write()


def weights(size: int) -> Arrays:
    """Return tensors of `size` bytes in all."""
    rng = np.random.default_rng(0)
    return {f"w{i}": rng.integers(-128, 128, size // PIECES, dtype=np.int8) for i in range(PIECES)}


def prepare(folder: Path, tensors: Arrays) -> tuple[Any, Any, Any]:
    """Write the same tensors in every form, and return what opens ours and age's."""
    owner, signer, stranger = x25519.generate(), seal.SigningKey.generate(), pyrage.x25519.Identity.generate()
    payload = seal.Payload(program=Program(model=b"graph", tensors=tensors), header={}, card={}, lineage={})
    seal.write(payload, folder / "m.intact", recipients=[owner.recipient], signer=signer)
    (folder / "key").write_bytes(owner.identity.secret.value)
    (folder / "pub").write_bytes(signer.verifying_key.to_pem())
    plain = folder / "plain" / "model.safetensors"
    plain.parent.mkdir()
    safetensors.numpy.save_file(tensors, plain)
    (folder / "model.age").write_bytes(pyrage.encrypt(plain.read_bytes(), [stranger.to_public()]))
    key = seal.SigningKey(ec.generate_private_key(ec.SECP256R1()))  # of the kinds that the public tool knows
    (folder / "p256.key").write_bytes(key.to_pem())
    (folder / "p256.pub").write_bytes(key.verifying_key.to_pem())
    for algorithm in VERIFY:
        hashing = model_signing.hashing.Config().use_file_serialization(hashing_algorithm=algorithm)
        signing = model_signing.signing.Config().use_elliptic_key_signer(private_key=folder / "p256.key")
        signing.set_hashing_config(hashing).sign(plain.parent, folder / f"{algorithm}.sig")
    return owner.identity, signer.verifying_key, stranger


@contextmanager
def ways(folder: Path, keys: tuple[Any, Any, Any], size: int) -> Iterator[dict[str, Clocked]]:
    """Give what is raced."""
    found: dict[str, Clocked] = {
        OURS: clocked(lambda: ours(folder, keys)),
        BARE: clocked(lambda: bare(folder)),
        PLAIN: clocked(lambda: private(folder)),
        MAPPED: clocked(lambda: mapped(folder)),
        AGE: clocked(lambda: under_age(folder, keys)),
        **{name: clocked(lambda algorithm=algorithm: verify(folder, algorithm)) for algorithm, name in VERIFY.items()},
    }
    if not PYTHON.exists():
        print("no interpreter with tensorizer; run make bench-peers")
        yield found
        return
    command = [PYTHON, ROOT / "benchmarks" / "peer_tensorizer.py", folder / "model.tensors", str(size), str(PIECES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdin is not None and peer.stdout is not None
        assert peer.stdout.readline() == "ready\n"
        yield {**found, TENSORIZER: lambda: asked(peer)}
        peer.stdin.close()


def asked(peer: subprocess.Popen[str]) -> float:
    """Return how many milliseconds another process says it took."""
    assert peer.stdin is not None and peer.stdout is not None
    peer.stdin.write("\n")
    peer.stdin.flush()
    return float(peer.stdout.readline())


def ours(folder: Path, keys: tuple[Any, Any, Any]) -> Arrays:
    """Open the artifact."""
    return dict(seal.read(folder / "m.intact", identities=[keys[0]], signers=[keys[1]]).program.tensors)


def bare(folder: Path) -> NDArray[np.uint8]:
    """Read the file of safetensors as it is: the least that any loading takes."""
    path = folder / "plain" / "model.safetensors"
    data = np.empty(path.stat().st_size, np.uint8)
    with path.open("rb", buffering=0) as file:
        done = 0
        while done < data.size:  # one call reads at most 2 GiB
            done += file.readinto(memoryview(data)[done:]) or 0
    return data


def private(folder: Path) -> Arrays:
    """Load safetensors as their numpy loader does, into memory of its own."""
    return safetensors.numpy.load_file(folder / "plain" / "model.safetensors")


def mapped(folder: Path) -> int:
    """Map safetensors, and touch every byte."""
    data = np.memmap(folder / "plain" / "model.safetensors", np.uint8, "r")
    return int(data[: data.size // 8 * 8].view(np.int64).sum())


def under_age(folder: Path, keys: tuple[Any, Any, Any]) -> Arrays:
    """Decrypt with age, then load."""
    return safetensors.numpy.load(pyrage.decrypt((folder / "model.age").read_bytes(), [keys[2]]))


def verify(folder: Path, algorithm: str) -> None:
    """Verify with the public tool, which decrypts and loads nothing."""
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=folder / "p256.pub")
    config.verify(folder / "plain", folder / f"{algorithm}.sig")


def check(folder: Path, keys: tuple[Any, Any, Any], tensors: Arrays) -> None:
    """Make sure that every way gives the same weights."""
    loaders: list[Callable[[], Arrays]] = [
        lambda: ours(folder, keys),
        lambda: private(folder),
        lambda: under_age(folder, keys),
    ]
    for load in loaders:
        found = load()
        assert found.keys() == tensors.keys()
        assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


def peak(folder: Path) -> int:
    """Open once, and return what that added to the peak memory of a fresh process."""
    identity, verifier = seal.load_identity(folder / "key"), seal.load_verifying_key(folder / "pub")
    before = peak_bytes()
    seal.read(folder / "m.intact", identities=[identity], signers=[verifier])
    return peak_bytes() - before


if __name__ == "__main__":
    main()
