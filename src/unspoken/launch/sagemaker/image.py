"""Which container image a job runs in: an AWS Deep Learning Container, or the user's own.

Source: AWS's lists of Deep Learning Container images and registries; images go and come, so every
answer can be overridden with the setting `image`.
"""

from __future__ import annotations

from unspoken.common.errors import SettingError, setting

#: The registry of most regions, and the regions that have one of their own.
_ACCOUNT = "763104351884"
_OWN_ACCOUNT = {
    "af-south-1": "626614931356",
    "ap-east-1": "871362719292",
    "ap-east-2": "975050140332",
    "ap-northeast-3": "364406365360",
    "ap-south-2": "772153158452",
    "ap-southeast-3": "907027046896",
    "ap-southeast-4": "457447274322",
    "ap-southeast-5": "550225433462",
    "ap-southeast-7": "590183813437",
    "ca-west-1": "204538143572",
    "cn-north-1": "727897471807",
    "cn-northwest-1": "727897471807",
    "eu-central-2": "380420809688",
    "eu-south-1": "692866216735",
    "eu-south-2": "503227376785",
    "il-central-1": "780543022126",
    "me-central-1": "914824155844",
    "me-south-1": "217643126080",
    "mx-central-1": "637423239942",
    "us-gov-east-1": "446045086412",
    "us-gov-west-1": "442386744353",
}
#: torch -> CUDA of its image; all with Python 3.12 on Ubuntu 22.04.
_CUDA = {"2.6.0": "cu126", "2.7.1": "cu128", "2.8.0": "cu129"}
_DEFAULT_TORCH = "2.8.0"
#: GPUs for which newer images have no code any more.
_OLDER_TORCH = {"p3": "2.6.0", "p3dn": "2.6.0"}
#: GPUs for which no image has code (K80), and hosts with processors of another kind (ARM).
_NO_IMAGE = ("p2", "p6e-gb200", "p6e-gb300")
#: Families whose accelerators are not NVIDIA's.
_OTHER_ACCELERATORS = ("trn", "inf", "dl")
#: Families with disks of their own, for which SageMaker refuses a volume key.
_LOCAL_DISKS = {
    "g4dn", "g5", "g6", "g6e", "g7", "g7e", "p3dn", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200",
    "p6-b300", "p6e-gb200", "p6e-gb300", "r5d",
}  # fmt: skip
#: GPUs by families and size; sizes up to 16xlarge of the G families that are not named have one.
_NUM_GPUS = {
    ("g4dn",): {"12xlarge": 4},
    ("g5", "g6", "g6e"): {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8},
    ("g7e",): {"12xlarge": 2, "24xlarge": 4, "48xlarge": 8},
    ("p3",): {"2xlarge": 1, "8xlarge": 4, "16xlarge": 8},
    ("p5",): {"4xlarge": 1, "48xlarge": 8},
    ("p3dn", "p4d", "p4de"): {"24xlarge": 8},
    ("p5e", "p5en", "p6-b200", "p6-b300"): {"48xlarge": 8},
}
_SMALL = ("xlarge", "2xlarge", "4xlarge", "8xlarge", "16xlarge")


def image_uri(region: str, instance_type: str, torch: str | None = None) -> str:
    """The address of the PyTorch training image for a region and an instance type.

    The image has torch and CUDA; the rest of what unspoken needs is installed when the job starts.

    Args:
        region: such as us-east-1.
        instance_type: decides between the CPU and the GPU image.
        torch: one of the versions that this module knows; None: the newest that the GPUs take.

    Raises:
        SettingError: no image is known for it.

    >>> image_uri("eu-west-1", "ml.g5.12xlarge").partition("/")[2]
    'pytorch-training:2.8.0-gpu-py312-cu129-ubuntu22.04-sagemaker'
    """
    family = _family(instance_type)
    if family in _NO_IMAGE:
        raise SettingError(
            "instance_type",
            found=f"{instance_type}, which AWS's images of torch 2.6 and newer do not support",
            needed="an image of your own",
            remedy=f"give {setting('image')}, or choose another type",
        )
    torch = torch or _OLDER_TORCH.get(family, _DEFAULT_TORCH)
    if torch not in _CUDA:
        raise SettingError(
            "torch",
            found=f"{torch}, for which no image is known",
            needed=f"one of {', '.join(_CUDA)}",
            remedy=f"choose one, or give {setting('image')}",
        )
    account = _OWN_ACCOUNT.get(region, _ACCOUNT)
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    kind = f"gpu-py312-{_CUDA[torch]}" if has_gpu(instance_type) else "cpu-py312"
    tag = f"{torch}-{kind}-ubuntu22.04-sagemaker"
    return f"{account}.dkr.ecr.{region}.{domain}/pytorch-training:{tag}"


def partition_of(region: str) -> str | None:
    """Which of AWS's separate clouds a region belongs to, as ARNs name it; None: not known here.

    >>> partition_of("eu-west-1"), partition_of("cn-north-1"), partition_of("us-gov-west-1")
    ('aws', 'aws-cn', 'aws-us-gov')
    """
    if "-iso" in region or region.startswith("eusc-"):
        return None
    clouds = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    return next((name for start, name in clouds.items() if region.startswith(start)), "aws")


def has_gpu(instance_type: str) -> bool:
    """Whether an instance type has NVIDIA GPUs.

    Raises:
        SettingError: it is no SageMaker type, or has accelerators that torch needs other code for.

    >>> has_gpu("ml.g5.xlarge"), has_gpu("ml.m5.xlarge")
    (True, False)
    """
    family = _family(instance_type)
    if family.startswith(_OTHER_ACCELERATORS):
        raise SettingError(
            "instance_type",
            found=instance_type,
            needed="CPUs or NVIDIA GPUs",
            remedy="choose ml.g..., ml.p..., ml.m... or ml.c...",
        )
    return family[0] in "gp"


def num_processes(instance_type: str) -> int | None:
    """How many processes train on one host: one for each GPU; None where that is not known.

    >>> num_processes("ml.g5.12xlarge"), num_processes("ml.m5.xlarge"), num_processes("ml.p9.huge")
    (4, 1, None)
    """
    if not has_gpu(instance_type):
        return 1
    family, size = instance_type.split(".")[1:]
    for families, sizes in _NUM_GPUS.items():
        if family in families:
            return sizes.get(size, 1 if family[0] == "g" and size in _SMALL else None)
    return None


def takes_volume_key(instance_type: str) -> bool:
    """Whether the job's volume can have a key of its own.

    Instances with disks of their own encrypt these themselves; SageMaker refuses a key for them.
    """
    return _family(instance_type) not in _LOCAL_DISKS


def _family(instance_type: str) -> str:
    parts = instance_type.split(".")
    if len(parts) != 3 or parts[0] != "ml" or not all(parts):
        raise SettingError(
            "instance_type",
            found=repr(instance_type),
            needed="a SageMaker type, such as ml.g5.12xlarge",
            remedy="correct it",
        )
    return parts[1]
