"""The steps of training.rs in JAX, each one function under `jit`. See README.md."""

import os

from training_steps import ACTIONS, AIRL_ACTIONS, AIRL_BATCH, BATCH, HIDDEN, ITEMS, LOG, MANY, NEGATIVES, OBS, SEQUENCES
from training_steps import TURNS, WIDTH, arguments, measure_asked

given = arguments()
os.environ["JAX_PLATFORMS"] = given.device
if given.threads == 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax  # noqa: E402  it reads the environment once
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402

KEYS = iter(jax.random.split(jax.random.PRNGKey(0), 200))


def normal(*shape, scale=1.0):
    return jax.random.normal(next(KEYS), shape) * scale


def whole(bound, *shape):
    return jax.random.randint(next(KEYS), shape, 0, bound)


def mlp(*widths):
    return [(normal(i, o, scale=(2 / i) ** 0.5), jnp.zeros(o)) for i, o in zip(widths, widths[1:])]


def forward(layers, x):
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def stepping(parameters, loss):
    """`loss(parameters, key)` draws its batch by the key."""
    optimiser = optax.adam(3e-4)

    @jax.jit
    def update(parameters, state, key):
        key, own = jax.random.split(key)
        updates, state = optimiser.update(jax.grad(loss)(parameters, own), state, parameters)
        return optax.apply_updates(parameters, updates), state, key

    held = [parameters, optimiser.init(parameters), next(KEYS)]

    def step():
        held[:] = update(*held)
        jax.block_until_ready(held)

    return step


def cross_entropy(scores, labels):
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()


def discrete(conservative):
    parameters, target = mlp(OBS, HIDDEN, HIDDEN, ACTIONS), mlp(OBS, HIDDEN, HIDDEN, ACTIONS)
    states, after, paid, actions = normal(LOG, OBS), normal(LOG, OBS), normal(LOG), whole(ACTIONS, LOG)
    over = (whole(20, LOG) == 0).astype(jnp.float32)

    def loss(parameters, key):
        rows = jax.random.randint(key, (BATCH,), 0, LOG)
        scores = forward(parameters, states[rows])
        if not conservative:
            return cross_entropy(scores, actions[rows])
        taken = jnp.take_along_axis(scores, actions[rows][:, None], 1)[:, 0]
        best = jnp.argmax(forward(parameters, after[rows]), 1)[:, None]
        priced = jnp.take_along_axis(forward(target, after[rows]), best, 1)[:, 0]
        wanted = jax.lax.stop_gradient(paid[rows] + 0.99 * (1 - over[rows]) * priced)
        return optax.huber_loss(taken, wanted).mean() + (jax.nn.logsumexp(scores, 1) - taken).mean()

    return stepping(parameters, loss)


def discriminator(hidden):
    parameters = {"g": mlp(2 * OBS + AIRL_ACTIONS + 1, hidden, hidden, 1), "h": mlp(OBS, hidden, hidden, 1)}

    def side():
        over = (whole(20, LOG) == 0).astype(jnp.float32)
        return normal(LOG, OBS), whole(AIRL_ACTIONS, LOG), normal(LOG, OBS), over, normal(LOG) - 3

    sides = side(), side()
    targets = jnp.concatenate([jnp.ones(AIRL_BATCH), jnp.zeros(AIRL_BATCH)])

    def loss(parameters, key):
        drawn = jax.random.randint(key, (2, AIRL_BATCH), 0, LOG)
        both = [jnp.concatenate([a[drawn[0]], b[drawn[1]]]) for a, b in zip(*sides)]
        states, actions, after, over, log_policy = both
        pairs = jnp.concatenate([states, jax.nn.one_hot(actions, AIRL_ACTIONS), after, over[:, None]], 1)
        going_on = 0.99 * (1 - over) * forward(parameters["h"], after)[:, 0]
        f = forward(parameters["g"], pairs)[:, 0] + going_on - forward(parameters["h"], states)[:, 0]
        return optax.sigmoid_binary_cross_entropy(f - log_policy, targets).mean()

    return stepping(parameters, loss)


def recurrent():
    parameters = {
        "items": normal(ITEMS, WIDTH, scale=0.1),
        "x": mlp(WIDTH, 3 * WIDTH)[0],
        "h": mlp(WIDTH, 3 * WIDTH)[0],
        "out": mlp(WIDTH, ITEMS),
    }
    seen, following = whole(ITEMS, SEQUENCES, TURNS), whole(ITEMS, SEQUENCES)

    def loss(parameters, key):
        rows = jax.random.randint(key, (BATCH,), 0, SEQUENCES)
        x = parameters["items"][seen[rows]] @ parameters["x"][0] + parameters["x"][1]

        def cell(h, x):
            (r, z, n), (of_r, of_z, of_n) = (
                jnp.split(part, 3, -1) for part in (x, h @ parameters["h"][0] + parameters["h"][1])
            )
            reset, keep = jax.nn.sigmoid(r + of_r), jax.nn.sigmoid(z + of_z)
            return (1 - keep) * jnp.tanh(n + reset * of_n) + keep * h, None

        h, _ = jax.lax.scan(cell, jnp.zeros((BATCH, WIDTH)), x.swapaxes(0, 1))
        return cross_entropy(forward(parameters["out"], h), following[rows])

    return stepping(parameters, loss)


def sampled():
    """JAX has no gradients of rows alone: optax steps the whole tables."""
    parameters = {
        "seen": normal(MANY, WIDTH),
        "out": normal(MANY, WIDTH),
        "bias": jnp.zeros(MANY),
        "network": mlp(WIDTH, WIDTH, WIDTH),
    }
    seen, following = whole(MANY, SEQUENCES, TURNS), whole(MANY, SEQUENCES)

    def loss(parameters, key):
        rows = jax.random.randint(key, (BATCH,), 0, SEQUENCES)
        drawn, own = jax.random.randint(jax.random.fold_in(key, 1), (NEGATIVES,), 0, MANY), following[rows]
        query = forward(parameters["network"], parameters["seen"][seen[rows]].mean(1))
        score = (query * parameters["out"][own]).sum(1) + parameters["bias"][own]
        others = query @ parameters["out"][drawn].T + parameters["bias"][drawn]
        others = jnp.where(drawn[None] == own[:, None], -1e9, others)
        return cross_entropy(jnp.concatenate([score[:, None], others], 1), jnp.zeros(BATCH, int))

    return stepping(parameters, loss)


measure_asked(given, "jax-jit", jax.__version__, discrete, discriminator, recurrent, sampled)
