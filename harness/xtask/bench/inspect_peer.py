"""The peer of the core benchmark: the same work done with Inspect AI.

    python inspect_peer.py answer SAMPLES LOGS
    python inspect_peer.py delayed SAMPLES LOGS TURNS SECONDS

`answer`: one turn for each sample. `delayed`: all samples at once, TURNS turns for each, SECONDS at the model for
each turn, every turn but the last with a call of a tool that does nothing. Exits with 0 if every sample scored 1.
The models report their usage themselves, since Inspect would otherwise fetch a vocabulary to count tokens.
"""

import asyncio
import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageTool, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool

NAME = "mockllm/model"


def counted(output):
    output.usage = ModelUsage(input_tokens=100, output_tokens=20, total_tokens=120)
    return output


def final_answer():
    return counted(ModelOutput.from_content(NAME, "The answer is 42."))


def answering(messages, tools, choice, config):
    return final_answer()


def delayed(turns, seconds):
    async def reply(messages, tools, choice, config):
        await asyncio.sleep(seconds)
        if sum(isinstance(message, ChatMessageTool) for message in messages) + 1 >= turns:
            return final_answer()
        return counted(ModelOutput.for_tool_call(NAME, "noop", {"text": "step"}))

    return reply


@tool
def noop():
    async def execute(text: str) -> str:
        """Does nothing.

        Args:
            text: Is ignored.
        """
        return "done"

    return execute


def main():
    kind, count, logs = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    samples = [Sample(id=f"s{n}", input=f"Question {n}: what is 6 x 7?", target="42") for n in range(1, count + 1)]
    at_once = {}
    if kind == "answer":
        solver, reply = [generate()], answering
    else:
        solver = [use_tools([noop()]), generate()]
        reply = delayed(int(sys.argv[4]), float(sys.argv[5]))
        at_once = {"max_samples": count, "max_connections": count}
    task = Task(dataset=MemoryDataset(samples), solver=solver, scorer=includes())
    model = get_model(NAME, custom_outputs=reply)
    [log] = eval(task, model=model, log_dir=logs, display="none", **at_once)
    right = log.status == "success" and log.results.completed_samples == count
    return 0 if right and log.results.scores[0].metrics["accuracy"].value == 1 else 1


sys.exit(main())
