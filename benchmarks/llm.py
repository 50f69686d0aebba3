"""The LLM and the embeddings of the measurements: a litellm provider in the process, of a fixed latency.

Both sides of a comparison get the same answers, the same latency and the same cap on calls in flight.
"""

import asyncio
import hashlib
import os
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm
import numpy as np
from litellm import CustomLLM, EmbeddingResponse, ModelResponse

from tests.double import answer_to, title_of

_DIMENSIONS = 384

ENVIRONMENT = {
    "LLM_PROVIDER": "custom",
    "LLM_MODEL": "bench/llm",
    "LLM_API_KEY": "bench",
    # As a service computes them: no time of this machine's own.
    "EMBEDDING_PROVIDER": "custom",
    "EMBEDDING_MODEL": "bench/embeddings",
    "EMBEDDING_API_KEY": "bench",
    "EMBEDDING_DIMENSIONS": str(_DIMENSIONS),
    # Else a tokenizer is looked for in the network, and waited for.
    "HF_HUB_OFFLINE": "1",
}


class Bench(CustomLLM):
    """Answers after `latency` seconds, at most `cap` at a time, and counts."""

    def __init__(self, latency: float, cap: int) -> None:
        super().__init__()
        self._latency = latency
        self._room = asyncio.Semaphore(cap)
        self._in_flight = 0
        self.calls = 0
        self.peak = 0
        self.embedding_calls = 0
        self.embedded_texts = 0

    async def acompletion(self, *args: Any, **kwargs: Any) -> ModelResponse:
        title = title_of((kwargs["optional_params"] or {}).get("response_format"), kwargs["messages"])
        async with self._room:
            self.calls += 1
            self._in_flight += 1
            self.peak = max(self.peak, self._in_flight)
            try:
                await asyncio.sleep(self._latency)
            finally:
                self._in_flight -= 1
        response: ModelResponse = kwargs["model_response"]
        response.choices[0].message.content = answer_to(title, kwargs["messages"][-1]["content"])
        response.usage = litellm.Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15)
        return response

    async def aembedding(self, *args: Any, **kwargs: Any) -> EmbeddingResponse:
        texts = kwargs["input"]
        self.embedding_calls += 1
        self.embedded_texts += len(texts)
        response: EmbeddingResponse = kwargs["model_response"]
        response.data = [
            {"object": "embedding", "index": index, "embedding": _vector(text)} for index, text in enumerate(texts)
        ]
        response.usage = litellm.Usage(prompt_tokens=1, completion_tokens=0, total_tokens=1)
        return response


def install(latency: float, cap: int) -> Bench:
    """Register the provider with litellm."""
    bench = Bench(latency, cap)
    litellm.drop_params = True
    litellm.custom_provider_map.append({"provider": "bench", "custom_handler": bench})
    described = {"litellm_provider": "bench", "mode": "chat", "max_tokens": 16_384, "max_input_tokens": 16_384}
    litellm.register_model(
        {
            "bench/llm": described | {"supports_response_schema": True},
            "bench/embeddings": described | {"mode": "embedding", "output_vector_size": _DIMENSIONS},
        }
    )
    return bench


def _vector(text: str) -> list[float]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(_DIMENSIONS)
    return [float(value) for value in vector / np.linalg.norm(vector)]
