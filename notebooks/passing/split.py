"""Handwritten digits, in a part to learn from and a part to judge by. They come with scikit-learn, so no network is needed."""

import sys

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import wattle_jupyter as wt

pictures, digits = load_digits(return_X_y=True)
learn_x, judge_x, learn_y, judge_y = train_test_split(pictures, digits, test_size=float(sys.argv[1]), random_state=0)
print(f"{len(learn_x)} pictures to learn from, {len(judge_x)} to judge by")

wt.emit(learn=(learn_x, learn_y), judge=(judge_x, judge_y), count=len(judge_x))
