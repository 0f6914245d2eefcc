#!/bin/bash
# The serving load of `clattn bench --suite dispatch` (96 requests of 64 tokens a round, every other
# round with prefill between them, half of the rounds each with a new dispatcher, the others all
# with one) for as long as asked. The first quarter of the time, and 4 rounds at least, warm it up;
# afterwards there must not be more threads and open files than there were at most until then, nor
# more than 2 % and 8 MiB more memory. Prints one line, PASSED or FAILED with the figures; the exit
# status is 0 if it passed. On Linux alone: elsewhere there is no /proc/self, and it fails. Needs
# what ci/packages.sh installs.
#
#   ci/soak.sh [MINUTES]      10 minutes if not given; fractions are allowed
. "$(dirname "$0")/lib.sh"

minutes=${1:-10}
build_tree build >/dev/null
exec build/bench/soak "$(awk -v minutes="$minutes" 'BEGIN { print minutes * 60 }')"
