"""A node that is killed while clients upload: whatever got 202 is done, and done once."""

import hashlib
import io
import random
import threading
import time
from collections import Counter

import httpx
import pytest
from fundus_pictures import phantom
from node_process import NodeProcess, ended
from PIL import Image
from rest_node import TOKEN

PICTURES, KILLS = 8, 3
PARAMETERS = {"task": "retinal_vessel", "method": "threshold", "formats": "png"}


def png(seed):
    """A photograph that no other seed gives."""
    pixels = phantom(0)[0].copy()
    pixels[0, :8] = seed
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


class Sender(threading.Thread):
    """A client that sends each picture until it is accepted, whatever happens to the node."""

    def __init__(self, node, pictures):
        super().__init__(daemon=True)
        self.node, self.pictures, self.accepted = node, pictures, []
        self.start()

    def run(self):
        for content in self.pictures:
            while not self._sent(content):
                time.sleep(0.1)

    def _sent(self, content):
        def slowly():
            for at in range(0, len(content), 4000):
                yield content[at : at + 4000]
                time.sleep(0.01)

        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "image/png"}
        url = f"http://127.0.0.1:{self.node.rest_port}/jobs"
        try:
            answer = httpx.post(url, params=PARAMETERS, content=slowly(), headers=headers, timeout=30)
        except httpx.TransportError:
            return False
        assert answer.status_code == 202, answer.text
        self.accepted.append(answer.json()["id"])
        return True


@pytest.mark.slow
def test_nothing_that_was_accepted_is_lost_or_done_twice(tmp_path):
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    (tmp_path / "tokens.txt").write_text(f"anna:{digest}\n")
    content = {"home": "home", "rest": {"port": 0, "tokens_file": "tokens.txt"}}
    choice = random.Random(3)
    with NodeProcess(tmp_path, content) as node:
        pictures = [png(seed) for seed in range(PICTURES)]
        senders = [Sender(node, pictures[number::4]) for number in range(4)]
        for _ in range(KILLS):
            time.sleep(choice.uniform(0.05, 1.5))
            node.kill()
            node.start()
        for sender in senders:
            sender.join(timeout=60)
            assert not sender.is_alive()
        jobs = node.wait_for(ended(PICTURES), seconds=120)
        assert Counter(job.state for job in jobs) == {"done": PICTURES}, [job.reason for job in jobs]
        assert {job for sender in senders for job in sender.accepted} == {job.id for job in jobs}
        kept = [(job.folder / "in" / "00001.png").read_bytes() for job in jobs]
        assert sorted(kept) == sorted(pictures)
        assert all((job.folder / "out" / "case" / "segmentation.png").is_file() for job in jobs)
        assert list((node.home / "uploads").glob("*")) == []
        assert node.stop() == 0
