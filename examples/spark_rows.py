"""Label the rows of a Spark DataFrame and embed them, with the function that Dask uses, too.

    python examples/spark_rows.py http://127.0.0.1:11434

Needs Java 17 and `pip install jupyter-ollama-magics pyarrow pyspark`, and a server with smollm2 and
all-minilm. More addresses share the rows.
"""

from __future__ import annotations

import os
import sys

from jupyter_ollama_magics.partitions import OllamaRows
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, FloatType, StructType

TEXTS = [
    "The parcel came two weeks late.",
    "It broke after a day.",
    "Arrived on time, well packed.",
    "Poor stitching, but soft.",
    None,
]


def main(servers: list[str]) -> None:
    """Send the rows to the servers and print the results."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # the interpreter of the workers
    spark = SparkSession.builder.master("local[2]").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    frame = spark.createDataFrame([(text,) for text in TEXTS], "text string").repartition(2)

    label = OllamaRows(
        "classify",
        ["delivery", "quality"],
        "text",
        into="topic",
        model="smollm2",
        endpoints=servers,
    )
    # schema.add() alone would change the schema of the frame itself.
    labelled = StructType(list(frame.schema)).add("topic", "string")
    frame.mapInPandas(lambda parts: map(label, parts), labelled).show(truncate=False)

    embed = OllamaRows("embed", "text", into="vector", model="all-minilm", endpoints=servers)
    embedded = StructType(list(frame.schema)).add("vector", ArrayType(FloatType()))
    # Spark takes no missing value for an array.
    vectors = frame.dropna().mapInPandas(lambda parts: map(embed, parts), embedded)
    vectors.selectExpr("text", "size(vector) AS size", "vector[0] AS first").show(truncate=False)
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
