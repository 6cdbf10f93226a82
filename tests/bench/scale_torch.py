"""The acting and the learning of scale.rs in PyTorch, with the full softmax as it is written by hand: one JSON line a catalogue. See README.md.

The network is the same: a query of 64 hidden units over user, window and progress, a product with the items' vectors, a bias, and what was shown
masked. Similar items are left out, which spares torch a part of the work. A batch of 1,920 states is learned from in chunks, because
its scores would not fit into memory at a million items.
"""

import argparse
import json
import resource
import time

import torch
import torch.nn as nn

USERS, WIDTH, WINDOW, EPISODES, TURNS, HIDDEN = 1000, 16, 7, 64, 30, 64

given = argparse.ArgumentParser()
given.add_argument("--items", default="6012,13864,190365")
given.add_argument("--threads", type=int, default=1)
given.add_argument("--scores", type=int, default=50_000_000, help="scores of a chunk")
given = given.parse_args()
torch.set_num_threads(given.threads)
torch.manual_seed(0)


class Network(nn.Module):
    def __init__(self, items):
        super().__init__()
        self.users = 0.3 * torch.randn(USERS, WIDTH)
        vectors = 0.3 * torch.randn(items, WIDTH)
        self.item_in = nn.Embedding.from_pretrained(torch.cat([vectors, torch.zeros(1, WIDTH)]), freeze=False)
        self.item_out = nn.Parameter(vectors.clone())
        self.bias = nn.Parameter(torch.zeros(items))
        self.prior = nn.Parameter(torch.tensor(16.0))
        inputs = WIDTH + WINDOW * WIDTH + 1
        self.actor = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH))
        self.critic = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))

    def forward(self, user, recent, progress, shown):
        of_user = self.users[user]
        x = torch.cat([of_user, self.item_in(recent).flatten(1), progress[:, None]], 1)
        scores = (self.actor(x) + self.prior * of_user) @ self.item_out.T + self.bias
        rows, items = shown
        return scores.index_put((rows, items), torch.tensor(-1e9)), self.critic(x)[:, 0]


def states(items, played):
    """User, window, progress and mask of states, given as (user, shown)."""
    user = torch.tensor([user for user, _ in played])
    recent = torch.tensor([([*reversed(shown)] + [items] * WINDOW)[:WINDOW] for _, shown in played])
    progress = torch.tensor([len(shown) / TURNS for _, shown in played])
    rows = torch.tensor([row for row, (_, shown) in enumerate(played) for _ in shown], dtype=torch.long)
    masked = torch.tensor([item for _, shown in played for item in shown], dtype=torch.long)
    return user, recent, progress, (rows, masked)


def measured(items):
    begin = time.perf_counter()
    network = Network(items)
    adam = torch.optim.Adam(network.parameters(), 0.002, foreach=True)
    begun, acted, learned = time.perf_counter() - begin, [], []
    for _ in range(4):
        shown = [[] for _ in range(EPISODES)]
        begin = time.perf_counter()
        with torch.no_grad():
            for _ in range(TURNS):
                scores, _ = network(*states(items, list(enumerate(shown))))
                # `multinomial` refuses more than 2^24 categories and is slower than the largest of scores with Gumbel's noise.
                chosen = (scores - torch.empty_like(scores).exponential_().log()).argmax(1)
                for episode, item in zip(shown, chosen.tolist()):
                    episode.append(item)
        acted.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        played = [(user, items_[:turn]) for user, items_ in enumerate(shown) for turn in range(TURNS)]
        actions = torch.tensor([item for episode in shown for item in episode])
        adam.zero_grad(set_to_none=True)
        chunk = max(1, given.scores // items)
        for first in range(0, len(played), chunk):
            part = slice(first, first + chunk)
            scores, values = network(*states(items, played[part]))
            log_policy = scores.log_softmax(1)
            log_prob = log_policy.gather(1, actions[part, None])[:, 0]
            entropy = -(log_policy.exp() * log_policy).sum(1)
            loss = (values.square() - log_prob - 0.01 * entropy).sum() / len(played)
            loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0, foreach=True)
        adam.step()
        learned.append(time.perf_counter() - begin)
    pairs = EPISODES * TURNS * items
    print(json.dumps({
        "bench": "scale", "impl": f"torch {torch.__version__}", "threads": given.threads, "items": items, "begin_s": begun,
        "act_s": min(acted), "act_ns": 1e9 * min(acted) / pairs, "learn_s": min(learned), "learn_ns": 1e9 * min(learned) / pairs,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }), flush=True)


for items in given.items.split(","):
    measured(int(items))
