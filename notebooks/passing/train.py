"""Learn to read digits. Takes pictures with their digits, leaves the model."""

from sklearn.neighbors import KNeighborsClassifier

import wattle_jupyter as wt

pictures, digits = wt.input("pictures")
model = KNeighborsClassifier(n_neighbors=3).fit(pictures, digits)
print(f"learned from {len(digits)} pictures")

wt.emit(model=model)
