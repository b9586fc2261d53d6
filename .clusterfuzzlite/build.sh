#!/bin/bash -eu
# SPDX-License-Identifier: Apache-2.0
#
# What ClusterFuzzLite runs in its container to have the targets in $OUT, each with its seeds,
# dictionary and options. It compiles with $CC and $CFLAGS, which bring instrumentation and
# sanitizers, and links $LIB_FUZZING_ENGINE. tests: ctest -R clusterfuzzlite.
cd "$SRC/w800-heap"
build=$WORK/w800-heap

# An engine that is an archive is C++ and does not say so.
engine=$LIB_FUZZING_ENGINE
if [[ $engine != -* ]]; then
    engine+=';-lc++'
fi

# Targets run in another image, without the libraries they are linked with: those go with them.
# The old kind of run path also counts for the libraries' own libraries.
cmake -S . -B "$build" -G Ninja \
    -DCMAKE_C_COMPILER="$CC" -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS="$CFLAGS" \
    -DCMAKE_EXE_LINKER_FLAGS='-Wl,--disable-new-dtags -Wl,-rpath,\$ORIGIN/lib' \
    -DCMAKE_SKIP_RPATH=ON -DW800_TESTS=OFF -DW800_WERROR=OFF -DW800_FUZZING_ENGINE="$engine"
cmake --build "$build" --target fuzz_targets

mkdir -p "$OUT/lib"
for program in "$build"/fuzz/fuzz_*; do
    name=${program##*/fuzz_}
    if [[ $name == empty ]]; then
        continue # measures the engine, finds nothing
    fi
    cp "$program" "$OUT/"
    ldd "$program" | awk '$3 ~ "/lib(dw|elf|z|zstd|lzma|bz2)[.]" { print $3 }' |
        xargs -r cp -L -t "$OUT/lib"
    seeds=()
    for seed in fuzz/seeds/"$name"/* fuzz/regressions/"$name"-*; do
        if [[ -f $seed ]]; then
            seeds+=("$seed")
        fi
    done
    if [[ ${#seeds[@]} -gt 0 ]]; then
        rm -f "$OUT/fuzz_${name}_seed_corpus.zip"
        zip -q -j "$OUT/fuzz_${name}_seed_corpus.zip" "${seeds[@]}"
    fi
    if [[ -f fuzz/dictionaries/$name.dict ]]; then
        cp "fuzz/dictionaries/$name.dict" "$OUT/fuzz_$name.dict"
    fi
    cp .clusterfuzzlite/target.options "$OUT/fuzz_$name.options"
done
