import base64

from feasible_jax.report.groups import group_rows
from feasible_jax.report.pictures import FILES, draw_pictures


def test_all_pictures_are_png_files_with_words(run):
    pictures = draw_pictures(run, group_rows(run.rows))
    assert tuple(pictures) == FILES
    for picture in pictures.values():
        assert picture.data.startswith(b"\x89PNG")
        assert len(picture.alt) > 40
        assert base64.b64decode(picture.uri.partition(",")[2]) == picture.data


def test_without_curves_there_is_the_trade_off_alone(one_seed):
    assert list(draw_pictures(one_seed, group_rows(one_seed.rows))) == ["tradeoff.png"]
    assert list(draw_pictures(one_seed._replace(curves={"kept": None}), [])) == []
