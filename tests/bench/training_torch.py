"""The steps of training.rs in PyTorch, as they are written by hand there: eager, or through torch.compile. See README.md."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

from training_steps import ACTIONS, AIRL_ACTIONS, AIRL_BATCH, BATCH, HIDDEN, ITEMS, LOG, MANY, NEGATIVES, OBS, SEQUENCES
from training_steps import TURNS, WIDTH, arguments, measure_asked

given = arguments(program=["eager", "compile"])
torch.set_num_threads(given.threads)
torch.set_default_device(given.device)
torch.manual_seed(0)


def mlp(*widths):
    layers = [layer for pair in zip(widths, widths[1:]) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def stepping(loss, batch, *optimisers):
    """One step: the batch is drawn outside of what is compiled."""
    loss = torch.compile(loss) if given.program == "compile" else loss

    def step():
        value = loss(*batch())
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
        value.backward()
        for optimiser in optimisers:
            optimiser.step()
        if given.device == "cuda":
            torch.cuda.synchronize()

    return step


def discrete(conservative):
    q = mlp(OBS, HIDDEN, HIDDEN, ACTIONS)
    target = copy.deepcopy(q)
    states, after, paid = torch.randn(LOG, OBS), torch.randn(LOG, OBS), torch.randn(LOG)
    actions, over = torch.randint(ACTIONS, (LOG,)), (torch.rand(LOG) < 0.05).float()

    def loss(states, actions, paid, after, over):
        if not conservative:
            return F.cross_entropy(q(states), actions)
        scores = q(states)
        taken = scores.gather(1, actions[:, None])[:, 0]
        with torch.no_grad():
            wanted = paid + 0.99 * (1 - over) * target(after).gather(1, q(after).argmax(1, keepdim=True))[:, 0]
        return F.smooth_l1_loss(taken, wanted) + (scores.logsumexp(1) - taken).mean()

    def batch():
        rows = torch.randint(LOG, (BATCH,))
        return states[rows], actions[rows], paid[rows], after[rows], over[rows]

    return stepping(loss, batch, torch.optim.Adam(q.parameters(), 3e-4, foreach=True))


def discriminator(hidden):
    g, h = mlp(2 * OBS + AIRL_ACTIONS + 1, hidden, hidden, 1), mlp(OBS, hidden, hidden, 1)

    def side():
        actions, over = torch.randint(AIRL_ACTIONS, (LOG,)), (torch.rand(LOG) < 0.05).float()
        return torch.randn(LOG, OBS), actions, torch.randn(LOG, OBS), over, torch.randn(LOG) - 3

    expert, played = side(), side()
    targets = torch.cat([torch.ones(AIRL_BATCH), torch.zeros(AIRL_BATCH)])

    def loss(states, actions, after, over, log_policy):
        pairs = torch.cat([states, F.one_hot(actions, AIRL_ACTIONS).float(), after, over[:, None]], 1)
        f = g(pairs)[:, 0] + 0.99 * (1 - over) * h(after)[:, 0] - h(states)[:, 0]
        return F.binary_cross_entropy_with_logits(f - log_policy, targets)

    def batch():
        i, j = torch.randint(LOG, (AIRL_BATCH,)), torch.randint(LOG, (AIRL_BATCH,))
        return [torch.cat([a[i], b[j]]) for a, b in zip(expert, played)]

    return stepping(loss, batch, torch.optim.Adam([*g.parameters(), *h.parameters()], 3e-4, foreach=True))


def recurrent():
    items, unit, out = nn.Embedding(ITEMS, WIDTH), nn.GRU(WIDTH, WIDTH, batch_first=True), nn.Linear(WIDTH, ITEMS)
    seen, following = torch.randint(ITEMS, (SEQUENCES, TURNS)), torch.randint(ITEMS, (SEQUENCES,))

    def loss(seen, following):
        return F.cross_entropy(out(unit(items(seen))[0][:, -1]), following)

    def batch():
        rows = torch.randint(SEQUENCES, (BATCH,))
        return seen[rows], following[rows]

    parameters = [*items.parameters(), *unit.parameters(), *out.parameters()]
    return stepping(loss, batch, torch.optim.Adam(parameters, 3e-4, foreach=True))


def sampled():
    """With gradients of the rows that were used, and SparseAdam."""
    seen_table, out, bias = (nn.Embedding(MANY, width, sparse=True) for width in (WIDTH, WIDTH, 1))
    network = mlp(WIDTH, WIDTH, WIDTH)
    seen, following = torch.randint(MANY, (SEQUENCES, TURNS)), torch.randint(MANY, (SEQUENCES,))

    def loss(seen, following, drawn):
        query = network(seen_table(seen).mean(1))
        own = (query * out(following)).sum(1, keepdim=True) + bias(following)
        others = query @ out(drawn).T + bias(drawn)[:, 0]
        others = others.masked_fill(drawn[None] == following[:, None], -1e9)
        return F.cross_entropy(torch.cat([own, others], 1), torch.zeros_like(following))

    def batch():
        rows = torch.randint(SEQUENCES, (BATCH,))
        return seen[rows], following[rows], torch.randint(MANY, (NEGATIVES,))

    tables = [*seen_table.parameters(), *out.parameters(), *bias.parameters()]
    return stepping(
        loss, batch, torch.optim.SparseAdam(tables, 3e-4), torch.optim.Adam(network.parameters(), 3e-4, foreach=True)
    )


measure_asked(given, f"torch-{given.program}", torch.__version__, discrete, discriminator, recurrent, sampled)
