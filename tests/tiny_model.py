"""A model of model2vec's, as tiny as one can be."""

from pathlib import Path

import numpy as np
from model2vec import StaticModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

WORDS = {"[UNK]": (9, 9, 9), "tea": (1, 0, 0), "coffee": (0.8, 0.6, 0), "dog": (0, 0, 1)}


def save_tiny_model(folder: Path) -> Path:
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    StaticModel(np.array(list(WORDS.values()), dtype=np.float32), tokenizer, normalize=True).save_pretrained(folder)
    return folder
