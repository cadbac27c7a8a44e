"""The demo from its command to its page, with few epochs and few rays."""

import json

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_ends_in_a_page_and_goes_on_after_an_interruption(lensless, tmp_path):
    options = ["--out", tmp_path / "demo", "--rays", 2**14, "--share", 0.2, "--json", tmp_path / "demo.json"]
    result = lensless("demo", *options)
    assert result.exit_code == 0, result.output
    pictures, labels = json.loads((tmp_path / "demo.json").read_text())["evaluations"]
    psnr_db = {line["name"]: line["psnr_db"] for line in pictures["lines"]}
    assert psnr_db["network"] > psnr_db["Wiener"] > psnr_db["Tikhonov"]
    accuracy = {line["name"]: line.get("accuracy") for line in labels["lines"]}
    assert accuracy["without reconstruction"] > accuracy["linear rule"] > accuracy["total light only"]
    page = (tmp_path / "demo" / "report.html").read_bytes()
    assert page.count(b"<section") == 5
    assert lensless("demo", *options).exit_code == 0  # everything is there already
    assert (tmp_path / "demo" / "report.html").read_bytes() == page
