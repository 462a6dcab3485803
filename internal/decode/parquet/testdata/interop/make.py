"""Writes the same events with Parquet writers in use, each in several forms, and reference.json, what a reader must make of them.

    python -m venv /tmp/venv && /tmp/venv/bin/pip install -r requirements.txt
    /tmp/venv/bin/python make.py             # Spark wants Java 17

A file's name begins with its writer and the writer's version. What is in reference.json is worked out here from the values
that went in, not read back from the files.
"""

import datetime as dt
import decimal
import glob
import importlib.metadata
import json
import os
import pathlib
import shutil
import tempfile
import uuid

import chdb
import duckdb
import fastparquet
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent
UTC = dt.timezone.utc
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)


def version(package):
    return importlib.metadata.version(package)


def iso(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def event(i):
    """An event, and what a file may have beside the contract's columns. Instants have milliseconds that do not end in zero."""
    at = dt.datetime(2025, 9, 5, 0, 59, 41, 7_000, tzinfo=UTC) + dt.timedelta(seconds=97 * i, milliseconds=10 * i)
    contract = {
        "EVENT_ID": str(uuid.UUID(int=0xA0000000_0000_4000_8000_000000000000 + i * 0x1_0001_0001)),
        "TYPE": ["consent.asked", "consent.given", "pageview", "ui.action"][i % 4],
        "RATE": [0.1, 1.0, 0.25, None][i % 4],
        "PARAMETERS": None if i % 7 == 6 else {
            "action": ["click", 'an "ünï" one', "x" * 40][i % 3], "created": iso(at - dt.timedelta(seconds=3)), "updated": iso(at),
            "note": f"line\n{i}"},
        "EVENT_TIME": at,
        "WINDOW_START": at.replace(minute=0, second=0, microsecond=0),
        "APIKEY": ["91e36d4b-21b5-43a5-90c8-229b61ed22f2", "11111111-2222-4333-8444-555555555555"][i // 5 % 2],
        "CONSENT": "full opt-in" if i % 4 == 1 else None,
        "COUNT": None if i % 11 == 10 else [10, 1, 2**40, -5][i % 4],
        "EXPERIMENT": None,
        "SDK_TYPE": "web",
        "DOMAIN": ["example.org", "bücher.example"][i % 2],
        "DEPLOYMENT_ID": f"d{i * 7919:06d}",
        "COUNTRY": ["ES", "FR", None][i % 3],
        "REGION": ["MD", None][i // 12 % 2],
        "BROWSER_FAMILY": ["Chrome", "Safari", "Firefox"][i // 3 % 3],
        "DEVICE_TYPE": "desktop" if i < 15 else "mobile",
        "USER_ID": f"user {i % 6}",
    }
    other = {
        "flag": None if i % 5 == 4 else i % 2 == 0,
        "score": None if i % 5 == 3 else i / 8,
        "price": None if i % 5 == 2 else decimal.Decimal(i * 25 - 50) / 100,
        "day": None if i % 5 == 1 else dt.date(2025, 9, 1) + dt.timedelta(days=i),
        "at": None if i % 5 == 0 else at,
        "tags": [["a", None, "b"], [], None, ["c"]][i % 4],
        "props": None if i % 6 == 5 else {"a": i, "b": None if i % 2 else f"b{i}", "d": dt.date(2025, 9, 1), "ok": i % 3 == 0},
        "counts": [{"k": i, "l": None}, {}, None][i % 3],
    }
    return contract, other


EVENTS = [event(i) for i in range(16)]
CONTRACT, OTHER = list(EVENTS[0][0]), list(EVENTS[0][1])


def micros(instant):
    return (instant - EPOCH) // dt.timedelta(microseconds=1)


def stored(value):
    """A value as reference.json has it: instants of the contract's columns in microseconds, all else as JSON."""
    return micros(value) if isinstance(value, dt.datetime) else value


def as_json(value):
    if isinstance(value, dt.datetime):
        return iso(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    return float(value) if isinstance(value, decimal.Decimal) else value


(HERE / "reference.json").write_text(json.dumps(
    [{**{k: stored(v) for k, v in contract.items()}, "extra": {k: v for k, v in other.items() if v is not None}}
     for contract, other in EVENTS], default=as_json, ensure_ascii=False, indent=0) + "\n")


def text(value):
    return value and json.dumps(value, ensure_ascii=False)


def arrow(parameters="text", ids="text", unit="us", zone="UTC", nullable=True):
    """The events as an Arrow table."""
    kinds = {"RATE": pa.float64(), "EVENT_TIME": pa.timestamp(unit, zone), "WINDOW_START": pa.timestamp(unit, zone),
             "COUNT": pa.int64(), "flag": pa.bool_(), "score": pa.float32(), "price": pa.decimal128(9, 2), "day": pa.date32(),
             "at": pa.timestamp("ms", "UTC"), "tags": pa.list_(pa.string()),
             "props": pa.struct([("a", pa.int32()), ("b", pa.string()), ("d", pa.date32()), ("ok", pa.bool_())]),
             "counts": pa.map_(pa.string(), pa.int64())}
    fields, arrays = [], []
    for name in CONTRACT + OTHER:
        values = [{**contract, **other}[name] for contract, other in EVENTS]
        kind = kinds.get(name, pa.string())
        if name in ("EVENT_ID", "APIKEY") and ids != "text":
            values = [uuid.UUID(v).bytes for v in values]
            kind = {"uuid": pa.uuid(), "fixed": pa.binary(16), "bytes": pa.binary()}[ids]
        if name == "PARAMETERS":
            if parameters == "struct":
                stamp = pa.timestamp("ms", "UTC")
                kind = pa.struct([("action", pa.string()), ("created", stamp), ("updated", stamp), ("note", pa.string())])
                values = [v and {**v, **{k: dt.datetime.fromisoformat(v[k]) for k in ("created", "updated")}} for v in values]
            elif parameters == "map":
                kind = pa.map_(pa.string(), pa.string())
            else:
                values = [text(v) for v in values]
        if pa.types.is_map(kind):
            values = [None if v is None else list(v.items()) for v in values]
        if isinstance(kind, pa.UuidType):
            array = pa.ExtensionArray.from_storage(kind, pa.array(values, pa.binary(16)))
        else:
            array = pa.array(values, kind)
        required = not nullable and array.null_count == 0
        fields.append(pa.field(name, array.type, nullable=not required))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def by_pyarrow():
    name = f"pyarrow-{version('pyarrow')}"
    small = {"row_group_size": 9, "data_page_size": 200, "write_batch_size": 4}
    pq.write_table(arrow(unit="ms", zone=None), HERE / f"{name}-v1-snappy-ms-local.parquet", write_statistics=False, **small)
    pq.write_table(arrow(parameters="struct", ids="uuid"), HERE / f"{name}-v2-zstd-us-uuid-struct.parquet", compression="zstd",
                   data_page_version="2.0", write_page_checksum=True, write_page_index=True)
    pq.write_table(arrow(parameters="map", ids="fixed", unit="ns", nullable=False), HERE / f"{name}-v1-gzip-ns-fixed-map.parquet",
                   compression="gzip", write_statistics=False)
    pq.write_table(arrow(ids="bytes", unit="ns", zone=None), HERE / f"{name}-v1-brotli-int96-bytes.parquet", compression="brotli",
                   use_deprecated_int96_timestamps=True, use_dictionary=False, write_statistics=False)
    pq.write_table(arrow(), HERE / f"{name}-v2-lz4-encodings.parquet", compression="lz4", data_page_version="2.0",
                   use_dictionary=False, write_statistics=False, column_encoding={
                       "EVENT_ID": "DELTA_BYTE_ARRAY", "DEPLOYMENT_ID": "DELTA_LENGTH_BYTE_ARRAY", "RATE": "BYTE_STREAM_SPLIT",
                       "EVENT_TIME": "DELTA_BINARY_PACKED", "COUNT": "DELTA_BINARY_PACKED", "flag": "RLE",
                       "at": "BYTE_STREAM_SPLIT", "score": "BYTE_STREAM_SPLIT"})


def frame(unit):
    """The events as pandas has them: NaN and NaT are its nulls, COUNT is a float because it has some."""
    data = arrow().drop_columns(["price", "tags", "props", "counts", "day", "at"]).to_pandas()
    for column in ("EVENT_TIME", "WINDOW_START"):
        data[column] = data[column].dt.as_unit(unit)
    data["EXPERIMENT"] = data["EXPERIMENT"].astype("float64")
    return data


def by_fastparquet():
    name = f"fastparquet-{version('fastparquet')}"
    data = frame("ns")
    for column in ("EVENT_TIME", "WINDOW_START"):
        data[column] = data[column].dt.tz_localize(None)
    for column in data.columns:
        if str(data[column].dtype) in ("str", "string"):
            data[column] = data[column].astype(object)
    texts = {c: "utf8" for c in data.columns if data[c].dtype == object}
    data["flag"] = data["flag"].astype("boolean")
    fastparquet.write(str(HERE / f"{name}-gzip-int96.parquet"), data, times="int96", compression="GZIP", object_encoding=texts)
    categories = data.assign(**{c: data[c].astype("category") for c in ("TYPE", "COUNTRY", "BROWSER_FAMILY", "CONSENT")})
    categories["PARAMETERS"] = [contract["PARAMETERS"] for contract, _ in EVENTS]
    texts = {c: "utf8" for c in categories.columns if categories[c].dtype == object} | {"PARAMETERS": "json"}
    for codec in ("ZSTD", "SNAPPY", "LZ4", "UNCOMPRESSED"):
        fastparquet.write(str(HERE / f"{name}-{codec.lower()}-int64-categories.parquet"), categories, compression=codec,
                          row_group_offsets=10, object_encoding=texts)


def by_pandas():
    name = f"pandas-{version('pandas')}"
    data = frame("us")
    data["TYPE"] = data["TYPE"].astype("category")
    data.to_parquet(HERE / f"{name}-pyarrow-nullable.parquet", index=False)
    data.convert_dtypes().to_parquet(HERE / f"{name}-pyarrow-dtypes.parquet", index=False, compression="zstd")


def by_duckdb():
    name = f"duckdb-{version('duckdb')}"
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    connection.register("text", arrow())
    connection.register("mapped", arrow(parameters="map"))
    connection.register("structs", arrow(parameters="struct"))
    types = connection.execute("select string_agg(distinct '''' || TYPE || '''') from text").fetchone()[0]
    for form, options, query in [
        ("v1-snappy-uuid-json-hugeint", "parquet_version v1, codec snappy",
         f"select * replace (EVENT_ID::uuid as EVENT_ID, APIKEY::uuid as APIKEY, COUNT::hugeint as COUNT, "
         f"PARAMETERS::json as PARAMETERS, TYPE::enum({types}) as TYPE) from text"),
        ("v2-zstd-ns-map", "parquet_version v2, codec zstd",
         "select * replace (EVENT_TIME::timestamp_ns as EVENT_TIME, WINDOW_START::timestamp_ms as WINDOW_START) from mapped"),
        ("v1-gzip-struct", "parquet_version v1, codec gzip", "select * from structs"),
        ("v1-brotli-decimal", "codec brotli", "select * replace (COUNT::decimal(18, 0) as COUNT, RATE::decimal(9, 4) as RATE) from text"),
        ("v2-lz4", "parquet_version v2, codec lz4_raw", "select * from text"),
        ("v1-uncompressed-text", "codec uncompressed",
         "select * replace (EVENT_TIME::timestamp::varchar as EVENT_TIME, COUNT::varchar as COUNT) from text"),
    ]:
        connection.execute(f"copy ({query}) to '{HERE / f'{name}-{form}.parquet'}' (format parquet, {options})")


def by_polars():
    name = f"polars-{version('polars')}"
    data = pl.from_arrow(arrow(parameters="struct").drop_columns(["counts"]))
    for codec, unit in [("zstd", "us"), ("snappy", "ms"), ("lz4", "ns"), ("gzip", "us"), ("brotli", "us")]:
        times = [pl.col(c).dt.cast_time_unit(unit) for c in ("EVENT_TIME", "WINDOW_START")]
        categories = [pl.col("TYPE").cast(pl.Categorical), pl.col("DEVICE_TYPE").cast(pl.Enum(["desktop", "mobile"]))]
        data.with_columns(times + categories).write_parquet(
            HERE / f"{name}-{codec}-{unit}.parquet", compression=codec, statistics=False,
            **({"row_group_size": 10, "data_page_size": 100} if codec == "zstd" else {}))


def by_clickhouse(folder):
    release = ".".join(str(chdb.query("select version()")).strip().strip('"').split(".")[:3])
    pq.write_table(arrow(), folder / "text.parquet")
    pq.write_table(arrow(parameters="map"), folder / "map.parquet")
    types = ", ".join(f"\'\'{t}\'\' = {i}" for i, t in enumerate(sorted({c["TYPE"] for c, _ in EVENTS})))
    for form, source, replaced, settings in [
        ("zstd-uuid-map", "map",
         "toUUID(assumeNotNull(EVENT_ID)) as EVENT_ID, toUUID(assumeNotNull(APIKEY)) as APIKEY, "
         "toDateTime64(EVENT_TIME, 3, 'UTC') as EVENT_TIME, toDateTime(WINDOW_START, 'UTC') as WINDOW_START", "'zstd'"),
        ("lz4-fixedstring", "text",
         "UUIDStringToNum(assumeNotNull(EVENT_ID)) as EVENT_ID, UUIDStringToNum(assumeNotNull(APIKEY)) as APIKEY, "
         "CAST(TYPE, 'FixedString(20)') as TYPE, CAST(ifNull(COUNTRY, ''), 'LowCardinality(FixedString(3))') as COUNTRY",
         "'lz4', output_format_parquet_string_as_string=0"),
        ("snappy-pages", "text", "toDateTime64(EVENT_TIME, 9, 'UTC') as EVENT_TIME",
         "'snappy', output_format_parquet_data_page_size=300, output_format_parquet_batch_size=8"),
        ("gzip-enum", "text", f"CAST(TYPE, 'Enum8({types})') as TYPE", "'gzip'"),
        ("brotli-decimal", "text", "toDecimal64(COUNT, 0) as COUNT, toDecimal32(RATE, 3) as RATE", "'brotli'"),
    ]:
        query = (f"select * replace ({replaced}) from file('{folder / source}.parquet', Parquet) "
                 f"settings session_timezone='UTC', output_format_parquet_compression_method={settings}")
        (HERE / f"clickhouse-{release}-{form}.parquet").write_bytes(chdb.query(query, "Parquet").bytes())


def by_spark(folder):
    from pyspark.sql import SparkSession, functions

    builder = SparkSession.builder.master("local[1]")
    for key, value in {"spark.ui.enabled": "false", "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1",
                       "spark.sql.session.timeZone": "UTC", "spark.driver.memory": "700m", "spark.log.level": "ERROR"}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    pq.write_table(arrow(), folder / "text.parquet")
    pq.write_table(arrow(parameters="map"), folder / "map.parquet")
    pq.write_table(arrow(parameters="struct"), folder / "struct.parquet")
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    for form, source, codec, times, legacy, settings in [
        ("v1-snappy-int96", "text", "snappy", "INT96", "false", {}),
        ("v1-lz4hadoop-legacy", "map", "lz4", "TIMESTAMP_MILLIS", "true", {}),
        ("v1-gzip-struct", "struct", "gzip", "TIMESTAMP_MICROS", "false", {"parquet.page.row.count.limit": "5"}),
        ("v2-zstd", "text", "zstd", "TIMESTAMP_MICROS", "false", {"parquet.writer.version": "v2"}),
        ("v2-lz4raw-bloom", "map", "lz4_raw", "TIMESTAMP_MICROS", "false",
         {"parquet.writer.version": "v2", "parquet.enable.dictionary": "false", "parquet.bloom.filter.enabled#USER_ID": "true",
          "parquet.bloom.filter.max.bytes": "512"}),
        ("v1-uncompressed", "struct", "uncompressed", "INT96", "true", {}),
    ]:
        spark.conf.set("spark.sql.parquet.outputTimestampType", times)
        spark.conf.set("spark.sql.parquet.writeLegacyFormat", legacy)
        writer = spark.read.parquet(str(folder / f"{source}.parquet")).coalesce(1).write.mode("overwrite").option("compression", codec)
        for key, value in settings.items():
            writer = writer.option(key, value)
        writer.parquet(str(folder / "out"))
        part, = glob.glob(str(folder / "out" / "part-*.parquet"))
        shutil.copyfile(part, HERE / f"spark-{spark.version}-{form}.parquet")
    spark.stop()


if __name__ == "__main__":
    for old in HERE.glob("*.parquet"):
        old.unlink()
    by_pyarrow()
    by_fastparquet()
    by_pandas()
    by_duckdb()
    by_polars()
    with tempfile.TemporaryDirectory() as folder:
        by_clickhouse(pathlib.Path(folder))
        by_spark(pathlib.Path(folder))
