"""Vector operations of disks on interleaved pixels, four float32 each, which the compiler does not find by itself.

Written as LLVM vectors for the reasons given in `simd`: the same bits on every processor. Taps come row by row: those
of a kernel's left half, each weight being the rise of the kernel from one pixel to the next; its right half falls in
the mirror image of that.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

PIXELS = 4
"""Pixels that runs are taken by."""
MOST_TAPS = 6
"""Taps whose weights are kept at once."""
_FLOAT, _INDEX, _LANE = ir.FloatType(), ir.IntType(64), ir.IntType(32)
_PIXEL, _EXACT, _VECTOR = ir.VectorType(_FLOAT, 4), ir.VectorType(ir.DoubleType(), 4), ir.VectorType(_FLOAT, 4 * PIXELS)


def _at(builder: Any, pointer: Any, index: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), kind.as_pointer())


def _load(builder: Any, pointer: Any, index: Any, kind: Any) -> Any:
    """Load a vector from an address that is aligned to one float only."""
    vector = builder.load(_at(builder, pointer, index, kind))
    vector.align = 4
    return vector


def _store(builder: Any, vector: Any, pointer: Any, index: Any) -> None:
    builder.store(vector, _at(builder, pointer, index, vector.type)).align = 4


def _lanes(numbers: list[int]) -> Any:
    return ir.Constant(ir.VectorType(_LANE, len(numbers)), numbers)


def _spread(builder: Any, value: Any, kind: Any) -> Any:
    """Copy a float to all lanes."""
    none = ir.Constant(kind, ir.Undefined)
    return builder.shuffle_vector(
        builder.insert_element(none, value, ir.Constant(_LANE, 0)), none, _lanes([0] * kind.count)
    )


def _pointers(context: Any, builder: Any, kinds: Any, arrays: Any) -> list[Any]:
    return [context.make_array(kind)(context, builder, a).data for kind, a in zip(kinds, arrays, strict=True)]


def _are_float32(*arrays: Any) -> bool:
    return all(isinstance(a, types.Array) and a.dtype == types.float32 for a in arrays)


def _sum_taps(builder: Any, values: Any, at: Any, weights: list[Any], step: int) -> Any:
    """Return ``sum_t weights[t] values[at + step t]``, a vector, summed in that order."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    multiply_add = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{_VECTOR.count}f32")
    parts = [_load(builder, values, builder.add(at, _INDEX(step * t)), _VECTOR) for t in range(len(weights))]
    total = builder.fmul(weights[0], parts[0])
    for weight, part in zip(weights[1:], parts[1:], strict=True):
        total = builder.call(multiply_add, [weight, part, total])
    return total


def _add_sums(
    builder: Any, arrays: list[Any], at: Any, length: Any, first: Any, count: int, rows: list[Any], *, rising: bool
) -> None:
    """Add to `rows`, places in the output, what `count` taps from `first` on make of a run from `at` on."""
    values, taps, out = arrays
    indices = [builder.add(first, _INDEX(t)) for t in range(count)]
    weights = [_spread(builder, builder.load(builder.gep(taps, [i])), _VECTOR) for i in indices]
    with cgutils.for_range_slice(builder, _INDEX(0), length, _INDEX(_VECTOR.count), inc=True) as (j, _):
        total = _sum_taps(builder, values, builder.add(at, j), weights, -4 if rising else 4)
        for row in rows:
            place = builder.add(row, j)
            before = _load(builder, out, place, _VECTOR)
            _store(builder, builder.fadd(before, total) if rising else builder.fsub(before, total), out, place)


def _taps_along_run(*, rising: bool, rows: int) -> Callable[..., Any]:
    """Make the operation of a row of a kernel's left half, or of its right half; or of two rows that are alike."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, at, length, taps, first, count, out, *to = arguments
        arrays = _pointers(context, builder, [signature.args[k] for k in (0, 3, 6)], (values, taps, out))
        # What is more than there are registers for goes in several steps.
        steps = builder.sdiv(count, _INDEX(MOST_TAPS))
        done = builder.mul(steps, _INDEX(MOST_TAPS))

        def add(done: Any, count: int) -> None:
            shift = builder.mul(done, _INDEX(-4 if rising else 4))
            first_, at_ = builder.add(first, done), builder.add(at, shift)
            _add_sums(builder, arrays, at_, length, first_, count, to, rising=rising)

        with cgutils.for_range(builder, steps) as step:
            add(builder.mul(step.index, _INDEX(MOST_TAPS)), MOST_TAPS)
        after = builder.append_basic_block("taps.done")
        cases = builder.switch(builder.sub(count, done), after)
        for n in range(1, MOST_TAPS):
            cases.add_case(_INDEX(n), block := builder.append_basic_block("taps"))
            builder.position_at_end(block)
            add(done, n)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    def typed(values: Any, taps: Any, out: Any) -> Any:
        index = types.int64
        if not _are_float32(values, taps, out):
            return None
        return types.void(values, index, index, taps, index, index, out, *[index] * rows), generate

    if rows == 1:

        @intrinsic
        def add_row(
            context: Any, values: Any, at: Any, length: Any, taps: Any, first: Any, count: Any, out: Any, to: Any
        ) -> Any:
            return typed(values, taps, out)

        return add_row

    @intrinsic
    def add_rows(
        context: Any, values: Any, at: Any, length: Any, taps: Any, first: Any, count: Any, out: Any, to: Any, to2: Any
    ) -> Any:
        return typed(values, taps, out)

    return add_rows


@intrinsic
def _add_pixel(
    context: Any, source: Any, at: Any, taps: Any, rises: Any, falls: Any, first: Any, end: Any, out: Any, to: Any
) -> Any:
    floats, offsets = (source, taps, out), (rises, falls)
    if not _are_float32(*floats) or not all(isinstance(a, types.Array) and a.dtype == types.int64 for a in offsets):
        return None
    index = types.int64
    signature = types.void(source, index, taps, rises, falls, index, index, out, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        s, at_, w, up, down, first_, end_, o, to_ = arguments
        s, w, o, up, down = _pointers(context, builder, (*floats, *offsets), (s, w, o, up, down))
        pixel = _load(builder, s, at_, _PIXEL)
        with cgutils.for_range_slice(builder, first_, end_, _INDEX(1), inc=True) as (t, _):
            part = builder.fmul(pixel, _spread(builder, builder.load(builder.gep(w, [t])), _PIXEL))
            for offsets_, combine in ((up, builder.fadd), (down, builder.fsub)):
                target = builder.add(to_, builder.load(builder.gep(offsets_, [t])))
                _store(builder, combine(_load(builder, o, target, _PIXEL), part), o, target)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def _sum_row(context: Any, spread: Any, at: Any, count: Any, out: Any, x: Any) -> Any:
    if not _are_float32(spread, out):
        return None
    index = types.int64
    signature = types.void(spread, index, index, out, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        s, at_, count_, o, x_ = arguments
        pitch = builder.sdiv(
            cgutils.unpack_tuple(builder, context.make_array(out)(context, builder, o).strides, 2)[0], _INDEX(4)
        )
        s, o = _pointers(context, builder, (spread, out), (s, o))
        carry = cgutils.alloca_once_value(builder, ir.Constant(_EXACT, None))
        with cgutils.for_range_slice(builder, _INDEX(0), count_, _INDEX(4), inc=True) as (i, _):
            begin = builder.add(at_, builder.mul(i, _INDEX(4)))
            places = [builder.add(begin, _INDEX(4 * k)) for k in range(4)]
            steps = [_load(builder, s, place, _PIXEL) for place in places]
            for place in places:
                _store(builder, ir.Constant(_PIXEL, None), s, place)
            two, last = builder.fadd(steps[0], steps[1]), builder.fadd(steps[2], steps[3])
            sums = [steps[0], two, builder.fadd(two, steps[2]), builder.fadd(two, last)]
            so_far = builder.load(carry)
            builder.store(builder.fadd(so_far, builder.fpext(sums[3], _EXACT)), carry)
            base = builder.fptrunc(so_far, _PIXEL)
            for k, row in enumerate(_transposed(builder, [builder.fadd(base, part) for part in sums])):
                _store(builder, row, o, builder.add(builder.add(builder.mul(pitch, _INDEX(k)), x_), i))
        return context.get_dummy_value()

    return signature, generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose four vectors of four."""
    low = [builder.shuffle_vector(rows[k], rows[k + 1], _lanes([0, 4, 1, 5])) for k in (0, 2)]
    high = [builder.shuffle_vector(rows[k], rows[k + 1], _lanes([2, 6, 3, 7])) for k in (0, 2)]
    halves = _lanes([0, 1, 4, 5]), _lanes([2, 3, 6, 7])
    return [builder.shuffle_vector(*pair, half) for pair in (low, high) for half in halves]


add_rising_taps: Any = _taps_along_run(rising=True, rows=1)
"""``add_rising_taps(values, at, length, taps, first, count, out, to)``: add what a row of a kernel's left half makes.

``out[to + j] += sum_t taps[first + t] values[at + j - 4 t]`` for t = 0 ... count - 1, summed in that order, and j from
0 to `length`, rounded up to whole steps of `PIXELS`. All are flat contiguous float32. Nothing checks bounds.
"""
add_falling_taps: Any = _taps_along_run(rising=False, rows=1)
"""The same for the right half: ``out[to + j] -= sum_t taps[first + t] values[at + j + 4 t]``.

Where `values` do not change, it takes away exactly what `add_rising_taps` added, if there are at most `MOST_TAPS`.
"""
add_rising_twice: Any = _taps_along_run(rising=True, rows=2)
"""As `add_rising_taps`, with a last argument more: the same sums are added to a second place in `out`, too."""
add_falling_twice: Any = _taps_along_run(rising=False, rows=2)
"""As `add_falling_taps`, with a last argument more: the same sums are taken from a second place in `out`, too."""
add_taps_of_pixel: Any = _add_pixel
"""``add_taps_of_pixel(source, at, taps, rises, falls, first, end, out, to)``: add what a kernel makes of one pixel.

With ``p = taps[t] source[at : at + 4]``, t = `first` ... `end` - 1: ``out[to + rises[t]] += p`` and
``out[to + falls[t]] -= p``, four floats each. `rises` and `falls` are int64. Nothing checks bounds.
"""
sum_row: Any = _sum_row
"""``sum_row(spread, at, count, out, x)``: ``out[k, x + i] = sum_(j <= i) spread[at + 4 j + k]``, i = 0 ... count - 1.

`count` is a multiple of 4; `out` (4, B) has contiguous rows. What was summed of `spread` is set to zero. Sums are kept
in double precision from four pixels to the next, so that rounding does not grow along a row.
"""
