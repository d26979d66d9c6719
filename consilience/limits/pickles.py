"""What to say of files of tensors that are pickles with more than these.

PyTorch's own sentences, which libraries pass on or hide in the error that was the cause of theirs,
advise to switch its protection off.
"""

import re

_CONVERT = """\
it is a pickle {} If you trust it, convert it once, where nothing can be harmed: python -c "import \
{}; torch.save(s['state_dict'], 'NEW')", with the entry that holds the tensors in place of \
state_dict, and set `weights` to NEW\
"""
_BY_TORCH = "torch; s = torch.load('OLD', map_location='cpu', weights_only=False)"
_BY_PICKLE = "pickle, torch; s = pickle.load(open('OLD', 'rb'))"
_REFUSED = re.compile("weights only load failed|weights_only|invalid magic number|unpickler", re.I)
"""What PyTorch says of them, or libraries that pass on what it said."""


def explained(error: BaseException) -> str:
    """Returns what is to be said of weights that are not loaded; "" if no pickle was refused."""
    seen: BaseException | None = error
    while seen is not None:
        said = str(seen)
        if asked := re.search(r"GLOBAL (\S+)", said):
            return _CONVERT.format(
                f"with more than tensors ({asked[1]} of it would be run).", _BY_TORCH
            )
        if _REFUSED.search(said):
            return _CONVERT.format("that torch.save has not written, or damaged.", _BY_PICKLE)
        seen = seen.__cause__ or seen.__context__
    return ""


def reason(error: BaseException) -> str:
    """Returns in a few words why a file of tensors is not read."""
    if asked := re.search(r"GLOBAL (\S+)", str(error)):
        return f"{asked[1]} of it would be run"
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return "it is a pickle of other things" if not said or _REFUSED.search(said) else said
