"""What to say of weights that are pickles with more than tensors: how they become readable."""

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
    """Returns what is to be said of an error of loading; "" if no pickle was refused.

    PyTorch's own sentence, which libraries pass on or hide in the error that was the cause of
    theirs, advises to switch its protection off.
    """
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
