import re
from html.parser import HTMLParser

import pytest

from feasible_jax.report import Run, page
from feasible_jax.report.groups import group_rows
from feasible_jax.report.page import render_page, write_page
from feasible_jax.report.pictures import draw_pictures


class Elements(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(run):
    groups = group_rows(run.rows)
    return render_page(run, groups, draw_pictures(run, groups))


def test_is_well_formed_and_accessible(html):
    parsed = Elements(html)
    assert not parsed.open
    elements = parsed.found
    assert ("html", {"lang": "en"}) in elements
    assert any(a.get("name") == "viewport" for tag, a in elements if tag == "meta")
    images = [a for tag, a in elements if tag == "img"]
    assert len(images) == 3
    assert all(len(a["alt"]) > 40 for a in images)
    assert all(a.get("scope") in ("col", "row", "rowgroup") for tag, a in elements if tag == "th")
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_fetches_nothing(html):
    elements = Elements(html).found
    links = [a[key] for _, a in elements for key in ("src", "href", "srcset") if key in a]
    assert links
    assert all(link.startswith("data:") for link in links)
    assert not re.search(r"url\(|@import|https?://", html)
    assert not any(tag in ("script", "iframe", "object") for tag, _ in elements)


def test_holds_the_numbers_the_settings_and_the_command(html, run):
    assert "92.8<span" in html
    assert "chosen for every method and arm among 0.001, 0.003, 0.01, 0.03" in html
    assert run.command in html
    assert "fashion_mnist with cnn</h1>" in html
    assert "Mean absolute difference to the retrained model" in html


@pytest.mark.parametrize("key", ["scenario", "method", "dataset", "note", "model"])
def test_names_cannot_run(one_seed, key):
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    rows = [row | {key: evil} for row in one_seed.rows[:1]]
    run = Run(rows, {evil: evil, "seeds": evil}, {}, evil)
    groups = group_rows(rows)
    html = render_page(run, groups, draw_pictures(run, groups))
    tags = [tag for tag, _ in Elements(html).found]
    assert "script" not in tags
    assert all("onerror" not in attributes for _, attributes in Elements(html).found)
    assert "&lt;script&gt;" in html


def test_an_empty_run_and_missing_arms_still_have_a_page(run):
    assert "nothing to compare" in render_page(Run([], {}, {}, ""), [], {})
    rows = [row for row in run.rows if row["arm"] in ("feasible", "sign mask")]
    groups = group_rows(rows)
    html = render_page(Run(rows, {}, {}, ""), groups, draw_pictures(Run(rows, {}, {}, ""), groups))
    assert "sign mask" in html


def test_rows_without_any_metric_have_a_page(run):
    names = ("scenario", "method", "arm", "seed", "feasible")
    rows = [{name: row[name] for name in names} for row in run.rows]
    html = render_page(Run(rows, {}, {}, ""), group_rows(rows), {})
    assert "cannot be judged in 8" in html


def test_many_methods(one_seed, tmp_path):
    rows = [
        row | {"method": f"{row['method']} {i}" if row["arm"] != "reference" else row["method"]}
        for i in range(15)
        for row in one_seed.rows
        if i == 0 or row["arm"] != "reference"
    ]
    html = write_page(Run(rows, {}, {}, ""), tmp_path).read_text()
    assert html.count('<tr class="method">') == 30


def test_writes_the_page_and_its_pictures(one_seed, tmp_path):
    (tmp_path / "kept.png").write_bytes(b"of an older run")
    path = write_page(one_seed, tmp_path)
    assert path == tmp_path / "index.html"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.html", "tradeoff.png"]


@pytest.mark.parametrize("step", ["draw_pictures", "render_page", "write_atomically"])
def test_a_failure_midway_leaves_the_old_page(one_seed, tmp_path, monkeypatch, step):
    old = write_page(one_seed, tmp_path).read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(page, step, fail)
    with pytest.raises(OSError, match="disk full"):
        write_page(one_seed._replace(command="another"), tmp_path)
    assert (tmp_path / "index.html").read_bytes() == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.html", "tradeoff.png"]
