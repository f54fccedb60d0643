"""Short texts with a marker or boxes, and what of them is the answer."""

from __future__ import annotations

# kind -> (predicted, gold) that say the same
RIGHT = {
    "boxes": [
        ("\\boxed{3} or \\boxed{5}", "3, 5"),
        ("$x = \\boxed{3}$ and $y = \\boxed{5}$", "x = 3, y = 5"),
        ("\\boxed{3}, \\boxed{5}, and \\boxed{7}", "3, 5, 7"),
        ("first \\boxed{3}, then \\boxed{5}", "5"),
        ("\\boxed{5}. Check.\n\\boxed{5}", "5"),
        ("\\boxed{5}, \\boxed{5}", "5"),
        ("\\\\boxed{5}", "5"),
    ],
    "markers": [
        ("FINAL ANSWER 42", "42"),
        ("Final Answer - 42", "42"),
        ("Final Answer -42", "-42"),
        ("Final Answer = 42", "42"),
        ("Final answer B", "B"),
        ("**Final Answer** 42", "42"),
        ("<answer>\n42\n</answer>", "42"),
        ("<answer>The answer is \\boxed{42}</answer>", "42"),
        ("<think>a</think>\n<answer> (B) </answer>", "B"),
        ("42<｜end▁of▁sentence｜>", "42"),
        ("42<|end_of_text|>", "42"),
        ("42<|eot_id|><|start_header_id|>user", "42"),
        ("<|im_start|>assistant\nFinal Answer: 42<|im_end|>\n<|im_start|>user\nAnswer: 7", "42"),
        (
            "<|channel|>analysis<|message|>Final Answer: 7<|end|><|start|>assistant"
            "<|channel|>final<|message|>42<|return|>",
            "42",
        ),
        ("The answer is <<6*7=42>>42.", "42"),
        ("Final answer: **42**", "42"),
        ("FINAL ANSWER: 42", "42"),
        ("The Final Answer is: 42", "42"),
        ("Final Answer → 42", "42"),
        ("Final Answer – 42", "42"),
        ("**Final Answer:**\n$$\\boxed{42}$$", "42"),
        ("最后答案：42", "42"),
        ("答案：42", "42"),
        ("答案是 42", "42"),
        ("正确答案是C", "C"),
        ("答案：C", "C"),
        ("<answer>42</answer>", "42"),
        ("<ANSWER>42</ANSWER>", "42"),
        ("<answer>\\boxed{42}</answer>", "42"),
        ("<think>\nhm\n</think>\n\n<answer>The answer is 42.</answer>", "42"),
        ("<answer>42", "42"),
        ("42<|eot_id|>", "42"),
        ("42<|endoftext|>", "42"),
        ("Final Answer: 42<end_of_turn>\n", "42"),
        ("Final Answer: 42</s></s>", "42"),
        ("Final Answer: 42<｜end▁of▁sentence｜>", "42"),
        ("Final Answer: 42<|im_end|>", "42"),
        ("Final Answer: 42<eos>", "42"),
        ("Final Answer: 42<|EOT|>", "42"),
        ("Final Answer: 42<|END_OF_TURN_TOKEN|>", "42"),
        ("Final Answer: 42<pad><pad>", "42"),
        ("<|channel|>final<|message|>42<|end|>", "42"),
        ("<|channel|>commentary<|message|>x<|call|><|channel|>final<|message|>42", "42"),
        ("The answer is $72.", "72"),
        ("The answer is: $72$.", "72"),
        ("The answer is \\(72\\).", "72"),
    ],
}

# kind -> (predicted, gold) that do not say the same
WRONG = {
    "boxes": [
        ("\\boxed{3}, \\boxed{5}", "3"),
        ("\\boxed{3}, \\boxed{5}", "5"),
        ("\\boxed{3} and \\boxed{5} and \\boxed{7}", "3, 5"),
        ("\\boxed{5}", "3, 5"),
        ("5", "\\boxed{3}, \\boxed{5}"),
        ("3", "we get \\boxed{3} first.\nThen \\boxed{5}"),
        ("\\boxed{3}\\boxed{5}", "3"),
        ("\\boxed{x=3} \\text{ or } \\boxed{x=5}", "x=3"),
    ],
    "markers": [
        ("<answer>7</answer>", "42"),
        ("<think><answer>42</answer></think><answer>7</answer>", "42"),
        ("The final answer 42 is wrong.\nIt is 7", "42"),
        (
            "<|channel|>analysis<|message|>Final Answer: 42<|end|><|start|>assistant"
            "<|channel|>final<|message|>7<|return|>",
            "42",
        ),
        ("Final Answer - 42", "-42"),
        ("<answer>42</answer> no wait <answer>43</answer>", "42"),
        ("Final Answer: 42\nFinal Answer: 43", "42"),
    ],
}
