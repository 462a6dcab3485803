"""Makes the Parquet files of this folder and expected.json, what a reader must give for each.

    python -m venv /tmp/venv && /tmp/venv/bin/pip install pyarrow==26.0.1 duckdb==2.0.0
    /tmp/venv/bin/python make.py

A row is a list of values: null, "T:text", "B:text that is not called so", "I:integer", "N:number",
"@:microseconds since 1970", "D:microseconds of a date", "J:JSON".
They are worked out here from the values that went in, not read back from the files.
"""

import base64
import datetime as dt
import decimal
import json
import pathlib
import uuid

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

HERE = pathlib.Path(__file__).parent
EPOCH = dt.datetime(1970, 1, 1)
expected = {}


def given(prefix, values, text=str):
    return [None if v is None else f"{prefix}:{text(v)}" for v in values]


def micros(value):
    return (value - EPOCH) // dt.timedelta(microseconds=1)


def as_json(value):
    return json.dumps(value, ensure_ascii=False)


def expect(name, columns):
    """columns: (name, what the reader must give for each row)"""
    file = {"columns": [c for c, _ in columns], "rows": [list(r) for r in zip(*(v for _, v in columns))]}
    same = next((n for n, e in expected.items() if e == file), None)
    expected[name] = {"as": same} if same else file


def write(name, columns, **options):
    """columns: (name, arrow array, what the reader must give)"""
    table = pa.Table.from_arrays([a for _, a, _ in columns], names=[n for n, _, _ in columns])
    pq.write_table(table, HERE / name, **options)
    expect(name, [(n, v) for n, _, v in columns])


def arrow(values, kind):
    return pa.array(values, type=kind)


def integers(kind, values):
    return kind, arrow(values, getattr(pa, kind)()), given("I", values)


text = ["plain", None, "", 'quo"ted,\nünï', "x" * 300]
instants = [dt.datetime(2025, 9, 5, 1, 27, 31, 410_123), None, EPOCH, dt.datetime(1969, 12, 31, 23, 59, 59, 999_999),
            dt.datetime(2100, 1, 1)]
millis = [v and v.replace(microsecond=v.microsecond // 1000 * 1000) for v in instants]
nanos = [1_757_035_651_410_123_999, None, 0, -1, -1_000_000_001]
days = [0, None, 20_000, -1, -719_162]
clock = [dt.time(13, 4, 5, 6_000), None, dt.time(0), dt.time(23, 59, 59, 999_999), dt.time(1)]
floats = [0.1, None, -0.0, 1e300, 2.5]
halves = [0.5, None, -2.0, 6e-08, 65504.0]
uuids = [uuid.UUID(int=i * 0x1234567890ABCDEF1234567890AB) for i in range(4)] + [None]
booleans = [True, None, False, True, False]
d9 = [decimal.Decimal(v) if v else None for v in ["1.23", None, "-0.01", "0.00", "9999999.99"]]
d38 = [decimal.Decimal(v) if v else None
       for v in ["12345678901234567890123456.789012345678", None, "-0.000000000001", "0.000000000000", "-1.500000000000"]]
single = [0.10000000149011612, None, 1.0, -3.5, 16777216.0]


def clock_text(value):
    return value.strftime("%H:%M:%S") + (f".{value.microsecond:06d}" if value.microsecond else "")


scalars = [
    ("text", arrow(text, pa.string()), given("T", text)),
    ("large_text", arrow(text, pa.large_string()), given("T", text)),
    ("binary", arrow([v and v.encode() for v in text], pa.binary()), given("B", text)),
    ("fixed", arrow([b"abc", None, b"def", b"ghi", b"jkl"], pa.binary(3)), given("B", ["abc", None, "def", "ghi", "jkl"])),
    ("boolean", arrow(booleans, pa.bool_()), given("J", booleans, lambda v: str(v).lower())),
    integers("int8", [-128, None, 0, 1, 127]),
    integers("int16", [-32768, None, 0, 1, 32767]),
    integers("int32", [-(2**31), None, 0, 1, 2**31 - 1]),
    integers("int64", [-(2**63), None, 0, 1, 2**63 - 1]),
    integers("uint8", [255, None, 0, 1, 127]),
    integers("uint16", [65535, None, 0, 1, 127]),
    integers("uint32", [2**32 - 1, None, 0, 1, 127]),
    ("uint64", arrow([2**64 - 1, None, 0, 1, 2**63 - 1], pa.uint64()),
     ["J:18446744073709551615", None, "I:0", "I:1", "I:9223372036854775807"]),
    ("float16", arrow(halves, pa.float16()), given("N", [0.5, None, -2.0, 5.960464477539063e-08, 65504.0], repr)),
    ("float", arrow(single, pa.float32()), given("N", single, repr)),
    ("double", arrow(floats, pa.float64()), given("N", floats, repr)),
    ("decimal9", arrow(d9, pa.decimal128(9, 2)), given("J", d9)),
    ("decimal38", arrow(d38, pa.decimal128(38, 12)), given("J", d38, lambda v: format(v, "f"))),
    ("decimal76", arrow(d38, pa.decimal256(76, 12)), given("J", d38, lambda v: format(v, "f"))),
    ("date", arrow(days, pa.date32()), given("D", days, lambda v: v * 86_400_000_000)),
    ("ms", arrow(millis, pa.timestamp("ms")), given("@", millis, micros)),
    ("ms_utc", arrow(millis, pa.timestamp("ms", "UTC")), given("@", millis, micros)),
    ("us", arrow(instants, pa.timestamp("us")), given("@", instants, micros)),
    ("us_utc", arrow(instants, pa.timestamp("us", "UTC")), given("@", instants, micros)),
    ("ns", arrow(nanos, pa.timestamp("ns")), given("@", nanos, lambda v: v // 1000)),
    ("ns_utc", arrow(nanos, pa.timestamp("ns", "UTC")), given("@", nanos, lambda v: v // 1000)),
    ("time_ms", arrow([t and t.replace(microsecond=t.microsecond // 1000 * 1000) for t in clock], pa.time32("ms")),
     ["T:13:04:05.006", None, "T:00:00:00", "T:23:59:59.999", "T:01:00:00"]),
    ("time_us", arrow(clock, pa.time64("us")), given("T", clock, clock_text)),
    ("uuid", pa.ExtensionArray.from_storage(pa.uuid(), arrow([u and u.bytes for u in uuids], pa.binary(16))),
     given("T", uuids)),
    ("all_null", pa.nulls(5), [None] * 5),
]
write("scalars-v1.parquet", scalars, data_page_version="1.0", write_statistics=False)
write("scalars-v2-plain.parquet", scalars, data_page_version="2.0", use_dictionary=False, write_statistics=False)
required = [(n, a.drop_null(), [v for v in e if v is not None]) for n, a, e in scalars[:-1]]
schema = pa.schema([pa.field(n, a.type, nullable=False) for n, a, _ in required])
pq.write_table(pa.Table.from_arrays([a for _, a, _ in required], schema=schema), HERE / "required.parquet",
               write_statistics=False)
expect("required.parquet", [(n, v) for n, _, v in required])

write("int96.parquet", [("instant", arrow(nanos, pa.timestamp("ns")), given("@", nanos, lambda v: v // 1000))],
      use_deprecated_int96_timestamps=True)

words = [f"word {i % 5}" for i in range(300)]
longs = [f"{i:04d} " * 9 for i in range(300)]
many = [("number", arrow([i if i % 7 else None for i in range(300)], pa.int64()),
         given("I", [i if i % 7 else None for i in range(300)])),
        ("word", arrow(words, pa.string()), given("T", words)),
        ("long", arrow(longs, pa.string()), given("T", longs))]
for codec in ["none", "snappy", "gzip", "zstd", "lz4", "brotli"]:
    for version in ["1.0", "2.0"]:
        write(f"{codec}-v{version[0]}.parquet", many, compression=codec, data_page_version=version,
              write_page_checksum=True)
write("pages-and-row-groups.parquet", many, row_group_size=83, data_page_size=64, write_batch_size=7,
      write_page_checksum=True)
write("dictionary-fallback.parquet", many, dictionary_pagesize_limit=500, write_batch_size=16, data_page_size=512)

tricky = [None if i % 11 == 0 else (i * i * 7919) % 100_003 - 50_000 for i in range(700)]
wide = [None if v is None else v * 2**45 for v in tricky]
steps = [f"/path/{i // 10:03d}/{'x' * (i % 4)}{i}" for i in range(700)]
encodings = [
    ("delta32", "DELTA_BINARY_PACKED", arrow(tricky, pa.int32()), given("I", tricky)),
    ("delta64", "DELTA_BINARY_PACKED", arrow(wide, pa.int64()), given("I", wide)),
    ("delta_length", "DELTA_LENGTH_BYTE_ARRAY", arrow(steps, pa.string()), given("T", steps)),
    ("delta_text", "DELTA_BYTE_ARRAY", arrow(steps, pa.string()), given("T", steps)),
    ("split_float", "BYTE_STREAM_SPLIT", arrow([v and v / 3 for v in tricky], pa.float64()),
     given("N", [v and v / 3 for v in tricky], repr)),
    ("split_int", "BYTE_STREAM_SPLIT", arrow(tricky, pa.int32()), given("I", tricky)),
    ("bits", "PLAIN", arrow([i % 3 == 0 for i in range(700)], pa.bool_()),
     ["J:true" if i % 3 == 0 else "J:false" for i in range(700)]),
    ("runs", "RLE", arrow([i // 100 % 2 == 0 for i in range(700)], pa.bool_()),
     ["J:true" if i // 100 % 2 == 0 else "J:false" for i in range(700)]),
]
write("encodings.parquet", [(n, a, e) for n, _, a, e in encodings], use_dictionary=False, data_page_size=1500,
      write_batch_size=50, column_encoding={n: c for n, c, _, _ in encodings})

person = pa.struct([("name", pa.string()), ("age", pa.int32()), ("tags", pa.list_(pa.string()))])
nested = {
    "numbers": (pa.list_(pa.int64()), [[1, None, 3], [], None, [4]]),
    "matrix": (pa.list_(pa.list_(pa.int32())), [[[1, 2], [], None, [3]], None, [], [[]]]),
    "person": (person, [{"name": 'A "q" \\ \t\x01', "age": 1, "tags": ["x", None]}, None,
                        {"name": None, "age": None, "tags": None}, {"name": "é", "age": -1, "tags": []}]),
    "people": (pa.list_(person), [[{"name": "a", "age": 1, "tags": ["b"]}, None], None, [],
                                  [{"name": "c", "age": None, "tags": []}, {"name": "d", "age": 2, "tags": ["e", "f"]}]]),
    "counts": (pa.map_(pa.string(), pa.int64()), [{"a": 1, "b": None}, {}, None, {"c": 3}]),
    "by_number": (pa.map_(pa.int32(), pa.list_(pa.bool_())), [{1: [True], 2: None}, None, {}, {3: [False, None]}]),
}


def to_arrow(value):
    return list(value.items()) if isinstance(value, dict) else value


write("nested.parquet", [
    (n, arrow([to_arrow(v) for v in values] if pa.types.is_map(kind) else values, kind), given("J", values, as_json))
    for n, (kind, values) in nested.items()])
deep = {"when": instants[0], "day": dt.date(2025, 9, 5), "price": decimal.Decimal("1.50"), "share": 0.1, "none": None}
write("nested-types.parquet", [
    ("deep", arrow([deep], pa.struct([("when", pa.timestamp("us", "UTC")), ("day", pa.date32()),
                                      ("price", pa.decimal128(9, 2)), ("share", pa.float32()), ("none", pa.null())])),
     ['J:{"when":"2025-09-05T01:27:31.410123Z","day":"2025-09-05","price":1.50,"share":0.10000000149011612,"none":null}'])])

write("duplicate-names.parquet", [("a", arrow(["1"], pa.string()), ["T:1"]), ("a", arrow(["2"], pa.string()), ["T:2"])])
write("no-rows.parquet", [("a", arrow([], pa.string()), [])])
with pq.ParquetWriter(HERE / "no-row-groups.parquet", pa.schema([("a", pa.string())])):
    pass
expect("no-row-groups.parquet", [("a", [])])

duck = duckdb.connect()
duck.execute("set timezone = 'UTC'")
DUCK = """
    select i as "row", ('00000000-0000-0000-0000-' || lpad(i::varchar, 12, '0'))::uuid as id,
        (i / 4.0)::decimal(18, 3) as price,
        (['low', 'high'])[i % 2 + 1]::enum ('low', 'high') as level, ('{"n": ' || i || '}')::json as doc,
        timestamp '2025-01-01' + to_seconds(i) as at, time '01:00:00' + to_seconds(i) as clock, to_days(i) as span,
        [i, i + 1] as list, {'a': i, 'b': 'x'} as struct, map {'k': i} as map,
        {'doc': '[1]'::json, 'id': uuid '0000000a-0000-0000-0000-000000000000'} as mixed
    from range(5000) t (i) where i < 3 or i > 4996"""
DUCK_START = micros(dt.datetime(2025, 1, 1))
DUCK_ROWS = [0, 1, 2, 4997, 4998, 4999]
DUCK_EXPECTED = [
    ("row", given("I", DUCK_ROWS)),
    ("id", given("T", [uuid.UUID(int=int(str(i), 16)) for i in DUCK_ROWS])),
    ("price", given("J", [f"{i / 4:.3f}" for i in DUCK_ROWS])),
    ("level", given("T", [["low", "high"][i % 2] for i in DUCK_ROWS])),
    ("doc", given("J", [f'{{"n": {i}}}' for i in DUCK_ROWS])),
    ("at", given("@", [DUCK_START + i * 1_000_000 for i in DUCK_ROWS])),
    ("clock", given("T", [f"{1 + i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d}" for i in DUCK_ROWS])),
    ("span", given("T", [f"P0M{i}DT0.000S" for i in DUCK_ROWS])),
    ("list", given("J", [[i, i + 1] for i in DUCK_ROWS], as_json)),
    ("struct", given("J", [{"a": i, "b": "x"} for i in DUCK_ROWS], as_json)),
    ("map", given("J", [{"k": i} for i in DUCK_ROWS], as_json)),
    ("mixed", given("J", [{"doc": [1], "id": "0000000a-0000-0000-0000-000000000000"} for _ in DUCK_ROWS], as_json)),
]
for version in ["v1", "v2"]:
    name = f"duckdb-{version}.parquet"
    duck.execute(f"copy ({DUCK}) to '{HERE / name}' (format parquet, parquet_version {version})")
    expect(name, DUCK_EXPECTED)


class PlainKeys(pe.KmsClient):
    """Keeps keys as they are: the files only have to be encrypted, not safe."""

    def __init__(self, _config):
        super().__init__()

    def wrap_key(self, key, _name):
        return base64.b64encode(key)

    def unwrap_key(self, key, _name):
        return base64.b64decode(key)


for name, plain in [("encrypted-footer.parquet", False), ("encrypted-column.parquet", True)]:
    properties = pe.CryptoFactory(PlainKeys).file_encryption_properties(
        pe.KmsConnectionConfig(),
        pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["word"]}, plaintext_footer=plain))
    table = pa.table({"number": [1], "word": ["secret"]})
    with pq.ParquetWriter(HERE / name, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)

(HERE / "expected.json").write_text(
    "{\n" + ",\n".join(f'"{n}": {json.dumps(e, ensure_ascii=False)}' for n, e in sorted(expected.items())) + "\n}\n")
