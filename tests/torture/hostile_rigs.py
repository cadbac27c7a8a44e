"""Rig files that no honest person writes: fifty by hand, and as many as wanted at random."""

import json
import pathlib
import random
import re

RIG = (pathlib.Path(__file__).resolve().parents[2] / "hardware" / "rigs" / "bare-v1.toml").read_text()
LINES = [line for line in RIG.splitlines() if " = " in line]


def replaced(key: str, value: str) -> str:
    """A good rig in which one key has another value."""
    return re.sub(rf"(?m)^{key} = .*$", lambda found: f"{key} = {value}", RIG, count=1)


def added(lines: str, section: str = "") -> str:
    """A good rig with lines at the top, or at the end of a section."""
    head = f"[{section}]\n"
    return RIG.replace(head, f"{head}{lines}\n") if section else f"{lines}\n{RIG}"


ROD = ("diameter_mm", "length_mm", "core_index", "numerical_aperture")
DEEP = ".".join("a" * 1000)
# Name: (text, what the message must hold).
RIGS: dict[str, tuple[str, str]] = {
    "target": (added('_target_ = "os.system"'), "_target_"),
    "target_in_section": (added('_target_ = "os.system"', "sensor"), "sensor._target_"),
    "class": (added('__class__ = "subprocess.Popen"', "scene"), "scene.__class__"),
    "init": (added("__init__ = {}", "sensor"), "sensor.__init__"),
    "dict": (added('__dict__ = {a = "b"}'), "__dict__"),
    "reduce": (added('"__reduce__" = ["os.system", "touch canary"]'), "__reduce__"),
    "model_config": (added("model_config = {extra = 'allow'}"), "model_config"),
    "model_fields": (added("model_fields = {}", "scene"), "scene.model_fields"),
    "copy": (added("model_copy = 1", "scene"), "scene.model_copy"),
    "forward_model": (added('forward_model = "file:///etc/passwd"'), "forward_model"),
    "backend": (added('backend = "os.system"', "sensor"), "sensor.backend"),
    "include": (added('include = "/etc/passwd"'), "include"),
    "defaults": (added('[[defaults]]\npath = "../../x.toml"\n'), "defaults"),
    "interpolated": (replaced("distance_mm", '"${oc.env:HOME}"'), "scene.distance_mm"),
    "tag": (replaced("distance_mm", '"!!python/object/apply:os.system [ls]"'), "scene.distance_mm"),
    "path": (replaced("pitch_um", '"/etc/passwd"'), "sensor.pitch_um"),
    "path_in_shape": (replaced("shape", '["../..", "/etc/passwd"]'), "scene.shape"),
    "code": (replaced("pitch_um", "'__import__(\"os\").system(\"ls\")'"), "sensor.pitch_um"),
    "look_alike": (added('"d\u0456stance_mm" = 1.0', "scene"), "scene.d"),
    "bare_unicode": (added("größe = 1"), "line 1"),
    "invisible": (added('"id\\u200b" = "a"'), "id"),
    "turned_around": (added('"\\u202egnp" = 1'), "unknown key"),
    "nul_key": (added('"\\u0000" = 1'), "unknown key"),
    "escape_key": (added('"\\u001b[2J" = 1'), "unknown key"),
    "empty_key": (added('"" = 1'), "unknown key"),
    "long_key": (added(f'"{"k" * 10**5}" = 1'), "unknown key"),
    "long_text": (replaced("pitch_um", '"' + "a" * 10**6 + '"'), "sensor.pitch_um"),
    "long_id": (replaced("id", '"' + "a" * 10**6 + '"'), "id"),
    "no_id": (replaced("id", '""'), "id"),
    "long_serial": (replaced("serial", '"' + "a" * 10**6 + '"'), "sensor.serial"),
    "duplicate_key": (added("distance_mm = 1.0", "scene"), "line"),
    "duplicate_section": (RIG + "\n[scene]\n", "line"),
    "overwritten": (added("[scene.shape]\na = 1\n"), "line"),
    "nan": (replaced("distance_mm", "nan"), "scene.distance_mm"),
    "minus_nan": (replaced("veiling", "-nan") + "\n[alignment]\nroll_deg = -nan\n", "alignment.roll_deg"),
    "nan_in_range": (replaced("dark_level", "nan"), "scene.dark_level"),
    "nan_of_range": (replaced("prnu", "nan"), "sensor.prnu"),
    "inf": (replaced("white_electrons", "inf"), "sensor.white_electrons"),
    "minus_inf": (replaced("read_noise_electrons", "-inf"), "sensor.read_noise_electrons"),
    "overflow": (replaced("pitch_um", "1e400"), "sensor.pitch_um"),
    "long_number": (replaced("seed", "9" * 5000), "x.toml"),
    "long_hex": (replaced("seed", "0x" + "f" * 10**5), "cover_glass.seed"),
    "long_float": (replaced("pitch_um", "0x" + "f" * 10**5), "sensor.pitch_um"),
    "long_depth": (replaced("bit_depth", "1" * 400), "sensor.bit_depth"),
    "true": (replaced("frames", "true"), "sensor.frames"),
    "date": (replaced("exposure_s", "1979-05-27T07:32:00Z"), "sensor.exposure_s"),
    "time": (replaced("id", "07:32:00"), "id"),
    "impossible_date": (replaced("exposure_s", "2020-02-31"), "line"),
    "nested_arrays": (replaced("shape", "[" * 10**5), "x.toml"),
    "nested_closed": (replaced("shape", "[" * 400 + "]" * 400), "x.toml"),
    "nested_inline": (replaced("shape", "{a = " * 10**4 + "1" + "}" * 10**4), "x.toml"),
    "nested_tables": (RIG + f"\n[{DEEP}]\n", "unknown key"),
    "nested_in_section": (RIG + f"\n[sensor.{DEEP}]\n", "sensor.a"),
    "nested_keys": (added(f"{DEEP} = 1"), "unknown key"),
    "million": (replaced("shape", "[" + "1," * 450_000 + "]"), "scene.shape"),
    "million_keys": (added("\n".join(f"k{number} = 1" for number in range(60_000)), "sensor"), "sensor.k0"),
    "large_file": (RIG + "#" * 2 * 10**7, "x.toml"),
    "array_of_sections": (RIG.replace("[scene]", "[[scene]]"), "scene"),
    "section_is_number": (re.sub(r"(?s)\[scene\].*?\n\n", "scene = 7\n\n", RIG, count=1), "scene"),
    "section_away": (re.sub(r"(?s)\[scene\].*?\n\n", "", RIG, count=1), "scene"),
    "both_kinds": (f"{RIG}\n[cannula]\n" + "\n".join(f"{key} = 1" for key in ROD), "cannula"),
    "huge_sensor": (RIG.replace("[480, 640]", "[100_000_000, 100_000_000]"), "sensor.shape"),
    "no_pixels": (RIG.replace("[480, 640]", "[0, 0]"), "sensor.shape"),
    "three_sides": (RIG.replace("[480, 640]", "[480, 640, 3]"), "sensor.shape"),
    "not_text": ("id = \udcff\udcfe", "x.toml"),
    "nul": ("\0" * 100, "x.toml"),
    "json": (json.dumps({"id": "x"}), "x.toml"),
    "nothing": ("", "missing"),
}  # fmt: skip

VALUES = (
    *(
        "nan",
        "-nan",
        "inf",
        "-inf",
        "1e400",
        "-1e400",
        "1e-400",
        "-0.0",
        "0",
        "-1",
        "1",
        "2.5",
        "true",
        "false",
        "65536",
    ),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" * 310, "0x" + "f" * 300, "1_0", "0b1"),
    *("1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", '""', '"/etc/passwd"', '"../.."', '"\\u0000"', '"os.system"'),
    *("'''\n'''", '"1.0"', '"' + "a" * 300 + '"', "[]", "[1, 1]", "[nan, nan]", "[[1, 1]]", "[480, 640]", "[1.0, 1.0]"),
    *("[0, 0]", "[1, 1, 1]", '["a", "b"]', "{}", "{a = 1}", "{__class__ = 'x'}", "[{}, {}]", "[" * 50 + "]" * 50),
    *("[" + "1, " * 1000 + "]", "[9223372036854775808, 1]", "{shape = [1, 1]}", '"\\U0001F600"', '"\\u202e"'),
)
KEYS = (
    *(
        "_target_",
        "__class__",
        "__init__",
        "__dict__",
        "model_config",
        "root",
        "self",
        "cls",
        "loc",
        "id",
        "shape",
        "scene",
    ),
    *(
        '"\\u0000"',
        '"a.b"',
        '"../x"',
        '""',
        '"dist\\u0430nce_mm"',
        "specks.x",
        "a.b.c.d",
        "'x y'",
        "seed",
        "distance_mm",
    ),
    *("fov_deg", "width_mm", "abbe_number", "near_field", "veiling", "temperature_c", "acceptance_deg", "roll_deg"),
)


def drawn(draw: random.Random) -> tuple[str, str]:
    """A rig with one or a few changes, and the one key that was changed, or "" where it was more than a value."""
    lines, key = RIG.splitlines(), ""
    for number in range(draw.choice((1, 1, 1, 2, 5))):
        at = draw.randrange(len(lines))
        what = draw.random()
        if what < 0.55:
            line = draw.choice([line for line in lines if " = " in line] or LINES)
            name = line.partition(" = ")[0]
            lines[lines.index(line) if line in lines else at] = f"{name} = {draw.choice(VALUES)}"
            key = "" if number else name
            continue
        if what < 0.75:
            lines.insert(at, f"{draw.choice(KEYS)} = {draw.choice(VALUES)}")
        elif what < 0.85:
            lines.insert(
                at,
                draw.choice(("[", "[["))
                + draw.choice((*KEYS, "scene", "sensor", "cannula", "relay.x"))
                + draw.choice(("]", "]]")),
            )
        elif what < 0.95:
            del lines[at]
        else:
            lines[at] = "".join(
                draw.choice("[]{}=\"'#,.\\\0\t\x7fa1é\N{ZERO WIDTH SPACE}") for _ in range(draw.randrange(30))
            )
        key = ""
        lines = lines or [""]
    return "\n".join(lines) + "\n", key
