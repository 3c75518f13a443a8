"""The library functions that are admitted, by the number of their leading array arguments."""

from typing import Final

import numpy as np

from reward_codegen.values import DType, Value


def words(text: str) -> tuple[str, ...]:
    """The words of a text: a readable way to write a long list of names."""
    return tuple(text.split())


# numpy and jax.numpy -------------------------------------------------------------------------

_ONE_ARRAY = """
abs absolute fabs sqrt cbrt square exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos
arctan asin acos atan sinh cosh tanh arcsinh arccosh arctanh asinh acosh atanh sign floor ceil trunc
rint round around isnan isinf isfinite isposinf isneginf logical_not invert bitwise_not negative
positive reciprocal deg2rad rad2deg radians degrees sinc signbit nan_to_num i0
sum prod mean std var min max amin amax any all argmin argmax median ptp cumsum
cumprod count_nonzero nansum nanmean nanmax nanmin nanstd nanvar nanprod nanmedian nanargmax
nanargmin average diff ediff1d sort argsort trace
reshape ravel squeeze expand_dims transpose swapaxes moveaxis rollaxis flip fliplr flipud roll tile
repeat broadcast_to atleast_1d atleast_2d diag diagonal diagflat triu tril rot90 pad take copy
zeros_like ones_like empty_like array_split split hsplit vsplit real
linalg.norm linalg.det linalg.inv linalg.pinv linalg.matrix_power linalg.eigvalsh linalg.svd
linalg.matrix_rank linalg.slogdet linalg.cholesky linalg.qr
"""

_TWO_ARRAYS = """
add subtract multiply divide true_divide floor_divide mod remainder fmod power pow float_power
maximum minimum fmax fmin arctan2 atan2 hypot copysign logaddexp logaddexp2 heaviside nextafter
divmod greater greater_equal less less_equal equal not_equal logical_and logical_or logical_xor
bitwise_and bitwise_or bitwise_xor left_shift right_shift allclose isclose array_equal array_equiv
dot vdot inner outer cross matmul vecdot tensordot kron convolve correlate searchsorted digitize
polyval isin append full_like percentile quantile
linalg.solve linalg.lstsq linalg.cross linalg.outer linalg.vecdot linalg.matmul
"""

_THREE_ARRAYS = "where clip interp"

_SEQUENCE_OF_ARRAYS = """
concatenate concat stack hstack vstack column_stack dstack block linalg.multi_dot
"""

_SHAPES_ONLY = """
zeros ones empty full eye identity arange linspace logspace geomspace tri
"""

# NumPy's former names, and what they are called now.
FORMER_NAMES: Final = {
    "round_": "round",
    "fix": "trunc",
    "product": "prod",
    "cumproduct": "cumprod",
    "alltrue": "all",
    "sometrue": "any",
    "in1d": "isin",
    "row_stack": "vstack",
}


def _counts() -> dict[str, int]:
    groups = ((_ONE_ARRAY, 1), (_TWO_ARRAYS, 2), (_THREE_ARRAYS, 3))
    counts = {name: count for names, count in groups for name in names.split()}
    return counts | dict.fromkeys(_SHAPES_ONLY.split(), 0)


ARRAY_ARGUMENTS: Final = _counts()
SEQUENCE_FUNCTIONS: Final = frozenset(_SEQUENCE_OF_ARRAYS.split())

# Functions and operators that compute each entry from the entries at the same place.
_ENTRYWISE = """
+ - * / // % ** & | ^ << >> == != < <= > >= neg pos invert abs absolute fabs sqrt cbrt
square exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh
sign floor ceil negative isnan isinf isfinite maximum minimum power add subtract multiply
divide deg2rad rad2deg arctan2 where clip logical_and logical_or greater greater_equal less
less_equal equal not_equal
"""
ENTRYWISE: Final = frozenset(words(_ENTRYWISE))

# Keyword arguments that a library function may be called with.
_KEYWORDS = """
a a_max a_min alpha arr array arrays atol axes axis axis1 axis2 assume_unique bias bins
condlist copy constant_values choicelist ddof decimals default dtype endpoint equal_nan
fill_value indexing initial invert k keepdims kth left M m max min mode n N nan ndmin ndim
negative_slope neginf num offset ord p pad_width period posinf prepend q reps repeats right
rtol shape shift side start step stop tol trim v weights where x x1 x2 xi xp fp y precision
b base
"""
KEYWORDS: Final = frozenset(words(_KEYWORDS))

# jax.nn and jax.lax ----------------------------------------------------------------------------

_NN_FUNCTIONS = """
relu relu6 sigmoid hard_sigmoid hard_tanh softplus log_sigmoid soft_sign silu swish elu
leaky_relu softmax logsumexp tanh gelu
"""
NN_FUNCTIONS: Final = frozenset(words(_NN_FUNCTIONS))
NN_SYNONYMS: Final = {"swish": "nn.silu", "tanh": "tanh"}

# A lax function and the function above that it is.
LAX_FUNCTIONS: Final = {
    "abs": "abs", "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide",
    "rem": "fmod", "pow": "power", "max": "maximum", "min": "minimum", "neg": "negative",
    "sign": "sign", "sqrt": "sqrt", "cbrt": "cbrt", "square": "square", "exp": "exp",
    "expm1": "expm1", "log": "log", "log1p": "log1p", "sin": "sin", "cos": "cos", "tan": "tan",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "tanh": "tanh",
    "sinh": "sinh", "cosh": "cosh", "floor": "floor", "ceil": "ceil", "round": "round",
    "is_finite": "isfinite", "eq": "equal", "ne": "not_equal", "gt": "greater",
    "ge": "greater_equal", "lt": "less", "le": "less_equal", "dot": "dot",
    "bitwise_and": "bitwise_and", "bitwise_or": "bitwise_or", "bitwise_not": "bitwise_not",
    "logistic": "nn.sigmoid", "rsqrt": "lax.rsqrt", "erf": "lax.erf",
    "integer_pow": "lax.integer_pow", "clamp": "lax.clamp", "reciprocal": "reciprocal",
    "stop_gradient": "positive", "cumsum": "cumsum", "cumprod": "cumprod",
    "expand_dims": "expand_dims", "reshape": "reshape",
}  # fmt: skip

# math ------------------------------------------------------------------------------------------

# A function of `math` and the function above that it is.
MATH_FUNCTIONS: Final = {
    **{name: name for name in words("sqrt cbrt exp exp2 expm1 log2 log10 log1p sin cos tan")},
    **{name: name for name in words("sinh cosh tanh floor ceil trunc fabs degrees radians")},
    **{name: name for name in words("isnan isinf isfinite copysign fmod nextafter")},
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh", "pow": "power", "erf": "lax.erf",
}  # fmt: skip

# Where `math` raises ValueError and NumPy gives NaN or an infinity: outside of [low, high] or at
# its excluded ends.
MATH_DOMAINS: Final[dict[str, tuple[float, float, bool]]] = {
    "sqrt": (0.0, np.inf, False),
    "log": (0.0, np.inf, True),
    "log2": (0.0, np.inf, True),
    "log10": (0.0, np.inf, True),
    "log1p": (-1.0, np.inf, True),
    "asin": (-1.0, 1.0, False),
    "acos": (-1.0, 1.0, False),
    "acosh": (1.0, np.inf, False),
    "atanh": (-1.0, 1.0, True),
}

# Constants and types ---------------------------------------------------------------------------

CONSTANTS: Final[dict[str, Value]] = {
    "pi": float(np.pi), "e": float(np.e), "inf": float("inf"), "nan": float("nan"),
    "Inf": float("inf"), "Infinity": float("inf"), "infty": float("inf"), "NaN": float("nan"),
    "NAN": float("nan"), "PINF": float("inf"), "NINF": float("-inf"), "newaxis": None,
    "euler_gamma": float(np.euler_gamma),
}  # fmt: skip

DTYPES: Final[dict[str, DType]] = {
    **{f"float{bits}": DType(f"float{bits}", "f", bits) for bits in (16, 32, 64)},
    **{f"int{bits}": DType(f"int{bits}", "i", bits) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": DType(f"uint{bits}", "u", bits) for bits in (8, 16, 32)},
    "double": DType("float64", "f"), "single": DType("float32", "f", 32),
    "float_": DType("float64", "f"), "int_": DType("int64", "i"), "bool_": DType("bool", "b", 8),
    "bool": DType("bool", "b", 8), "float": DType("float64", "f"), "int": DType("int64", "i"),
    "bool8": DType("bool", "b", 8), "intp": DType("int64", "i"),
}  # fmt: skip

EXCEPTIONS: Final[dict[str, tuple[str, ...]]] = {
    # each with the classes that it belongs to
    "BaseException": (),
    "Exception": ("BaseException",),
    "ArithmeticError": ("Exception", "BaseException"),
    "ZeroDivisionError": ("ArithmeticError", "Exception", "BaseException"),
    "OverflowError": ("ArithmeticError", "Exception", "BaseException"),
    "FloatingPointError": ("ArithmeticError", "Exception", "BaseException"),
    "AssertionError": ("Exception", "BaseException"),
    "AttributeError": ("Exception", "BaseException"),
    "LookupError": ("Exception", "BaseException"),
    "IndexError": ("LookupError", "Exception", "BaseException"),
    "KeyError": ("LookupError", "Exception", "BaseException"),
    "NameError": ("Exception", "BaseException"),
    "UnboundLocalError": ("NameError", "Exception", "BaseException"),
    "RuntimeError": ("Exception", "BaseException"),
    "NotImplementedError": ("RuntimeError", "Exception", "BaseException"),
    "StopIteration": ("Exception", "BaseException"),
    "TypeError": ("Exception", "BaseException"),
    "ValueError": ("Exception", "BaseException"),
    "LinAlgError": ("ValueError", "Exception", "BaseException"),
}
