"""Figures in Prometheus' form, with labels that no sender can add to."""

from prometheus_client.parser import text_string_to_metric_families

from medseg.server.metrics import Metrics


def values(metrics):
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_counts_and_times():
    metrics = Metrics(lambda: {"waiting": 3, "done": 5})
    metrics.refused("token")
    metrics.refused("token")
    metrics.received(5000)
    metrics.ended("dicom", "done", seconds=4.0, delay=11.0)
    metrics.ended("rest", "set_aside")
    found = values(metrics)
    assert found["medseg_jobs", ("state", "waiting")] == 3
    assert found["medseg_refused_total", ("origin", "rest"), ("reason", "token")] == 2
    assert found["medseg_received_bytes_sum", ("origin", "rest")] == 5000
    assert found["medseg_ended_total", ("origin", "dicom"), ("outcome", "done")] == 1
    assert found["medseg_segment_seconds_bucket", ("le", "5.0")] == 1
    assert found["medseg_segment_seconds_bucket", ("le", "2.0")] == 0
    assert found["medseg_delay_seconds_sum",] == 11


def test_labels_are_bounded():
    metrics = Metrics(dict)
    for number in range(50):
        metrics.refused(f"DOE^JOHN {number}", f"origin {number}")
        metrics.ended(f"origin {number}", f"outcome {number}")
        metrics.received(1, f"origin {number}")
    text = metrics.text().decode()
    assert "DOE" not in text
    assert len(text.splitlines()) < 150
