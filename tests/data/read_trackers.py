"""What MLflow's server and TensorBoard's files say of the newest run of an experiment, read by their own clients.

    read_trackers.py mlflow ADDRESS EXPERIMENT
    read_trackers.py tensorboard FOLDER
"""

import json
import sys


def mlflow(address: str, experiment: str) -> dict:
    from mlflow import MlflowClient

    client = MlflowClient(address)
    found = client.get_experiment_by_name(experiment)
    run = client.search_runs([found.experiment_id], order_by=["attributes.start_time DESC"])[0]
    metrics = {}
    for name in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, name)
        metrics[name] = [[point.step, point.value] for point in history]
    folders = [file.path for file in client.list_artifacts(run.info.run_id)]
    return {
        "status": run.info.status,
        "name": run.info.run_name,
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": metrics,
        "files": [file.path for folder in folders for file in client.list_artifacts(run.info.run_id, folder)],
    }


def tensorboard(folder: str) -> dict:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    return {
        "scalars": {tag: [[point.step, point.value] for point in events.Scalars(tag)] for tag in tags["scalars"]},
        "texts": {
            tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in tags["tensors"]
        },
    }


print(json.dumps({"mlflow": mlflow, "tensorboard": tensorboard}[sys.argv[1]](*sys.argv[2:])))
