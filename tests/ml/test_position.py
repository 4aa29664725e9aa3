"""An ad is not taken for better or worse than it is because of where it stood."""

from bench.position import blender, corrected_rates, market, raw_rates, right_pairs, separate_head


def test_good_ads_shown_in_bad_places_are_ranked_by_what_they_are() -> None:
    # Good ads were drawn into places that are clicked a sixth as often: raw rates say nothing of quality any more.
    seen = market(rows=30_000, seed=1)
    assert right_pairs(seen, raw_rates(seen)) < 0.65
    assert right_pairs(seen, corrected_rates(seen)) > 0.8
    trees = right_pairs(seen, blender(seen))
    assert trees > 0.75
    # A head of its own for the place, left out when asked, does not beat what the counters correct already.
    assert trees > right_pairs(seen, separate_head(seen))
