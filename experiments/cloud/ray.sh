#!/usr/bin/env bash
# A sweep on a Ray cluster of machines that share a private network and a file system.
#
#   experiments/cloud/install.sh cuda13 dev      # once; the checkout lies on the shared file system
#   experiments/cloud/ray.sh head                # on one machine; prints HOST:PORT
#   experiments/cloud/ray.sh worker HOST:PORT    # on each of the others
#   experiments/cloud/ray.sh sweep HOST:PORT     # on one of them; SPEC=file OUT=folder to change these
#   experiments/cloud/ray.sh stop                # on each, at the end: stops all of Ray there
#
# On Slurm, inside an allocation of several nodes, `srun --overlap -w NODE experiments/cloud/ray.sh …`
# does the same.
#
# Cost, predicted, training only; $4.00 a GPU-hour is an assumption of 2026-11-23: check the price list.
# A trial with one arm and one seed of the paper's model, on one H100:
#   (levelburst roofline --device h100 --arms bursty --seeds 1): 1.47 … 2.69 device-hours x $4.00 = $6 … $11
# Time: 16 trials on 8 GPUs take two rounds, 2.9 … 5.4 hours; with early stopping less. FLOPs of a
# trial: 4.1e18 by `operations(config)`.
#
# Cut short, `levelburst sweep SPEC --resume` goes on: finished trials and cells are in OUT. A trial
# whose machine is lost is tried again by Ray.
#
# Ray runs any code that reaches its ports. So: addresses of private networks only, a token that all
# machines share (RAY_AUTH_MODE), no Ray client, no dashboard. With one, `ray[default]` installed and
# --include-dashboard=true, it stays on the head's loopback: ssh -N -L 8265:127.0.0.1:8265 HEAD
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PATH="$PWD/.venv/bin:$PATH"
export RAY_AUTH_MODE=token # from ~/.ray/auth_token; copy it where machines share no home
export RAY_USAGE_STATS_ENABLED=0

address() { # this machine's, on the private network
    local ip=${RAY_IP:-$(hostname -I | cut -d ' ' -f 1)}
    case $ip in
        10.* | 192.168.* | 172.1[6-9].* | 172.2[0-9].* | 172.3[01].* | 127.*) echo "$ip" ;;
        *)
            echo "ray.sh: $ip is no address of a private network; name one: RAY_IP=10.…" >&2
            return 2
            ;;
    esac
}

case ${1:-} in
    head)
        ip=$(address)
        ray get-auth-token --generate > /dev/null
        ray start --head --node-ip-address="$ip" --port=6379 --include-dashboard=false \
            --disable-usage-stats
        echo "$ip:6379"
        ;;
    worker)
        ip=$(address)
        ray start --address="${2:?HOST:PORT}" --node-ip-address="$ip" --disable-usage-stats
        ;;
    sweep)
        SPEC=${SPEC:-experiments/cloud/sweep.toml}
        OUT=${OUT:-$PWD/runs/sweep} # on the shared file system
        again=()
        if [[ -d $OUT ]]; then
            again=(--resume)
        fi
        levelburst sweep "$SPEC" --address "${2:?HOST:PORT}" --out "$OUT" "${again[@]}"
        ;;
    stop)
        ray stop
        ;;
    *)
        echo "ray.sh: use head, worker HOST:PORT, sweep HOST:PORT or stop" >&2
        exit 2
        ;;
esac
