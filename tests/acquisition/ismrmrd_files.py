"""A small scan, and ISMRMRD files of it written acquisition by acquisition with the ismrmrd package."""

from collections.abc import Iterable
from pathlib import Path

import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np
import pytest
from helpers import complex_normal

from mrfpipe.acquisition.ismrmrd import read_ismrmrd
from mrfpipe.acquisition.scan import RawScan
from mrfpipe.acquisition.trajectory import golden_angle_spokes
from mrfpipe.protocol import Delay, Excitations, Inversion, Readout, Sequence

N_SPOKES, MATRIX, N_SAMPLES = 24, 16, 32
FOV_MM = 320.0
TE_MS, TR_MS, FLIP_DEG = (np.repeat(v, 12) for v in ([2.39, 3.45], [3.52, 4.58], [5.0, 15.0]))
TI_MS = 8.32
AFFINE_TOLERANCE_MM = 1e-4  # float32 positions of some 100 mm
ANGLE_DEG = 111.24611797

# An oblique stack in LPS, its three directions all different and none along an axis.
READ_DIR, PHASE_DIR, SLICE_DIR = np.linalg.qr(np.array([[0.8, 0.3, 0.1], [-0.2, 0.9, 0.3], [0.3, -0.4, 0.7]]))[0].T
FIRST_POSITION, SPACING_MM = np.array([12.0, -34.0, 56.0]), 11.0


def small_sequence(
    *,
    flip: np.ndarray = np.deg2rad(FLIP_DEG),  # noqa: B008 - nobody changes it
    te: np.ndarray = TE_MS * 1e-3,
    tr: np.ndarray = TR_MS * 1e-3,
    inversion_time: float | None = TI_MS * 1e-3,
    oversampling: int = 2,
    **changes: object,
) -> Sequence:
    train = Excitations(flip=flip, te=te, tr=tr, phase=np.zeros(flip.size), rf_spoiling_increment=np.deg2rad(50.0))
    prepared = () if inversion_time is None else (Inversion(), Delay(duration=inversion_time))
    values = {
        "blocks": (*prepared, train, Delay(duration=4.2)),
        "readout": Readout(
            kind="golden-radial",
            readouts_per_frame=8,
            angle_increment=np.deg2rad(ANGLE_DEG),
            oversampling=oversampling,
        ),
        "excitation_time_bandwidth": 4.0,
        "matrix": MATRIX,
        "fov": FOV_MM * 1e-3,
        "slice_thickness": 8e-3,
    }
    return Sequence(**{**values, **changes})


def expected_affine(spacing_mm: float = SPACING_MM) -> np.ndarray:
    """The affine of the oblique stack, from where three voxels beside its centre must lie."""
    lps_to_ras = np.diag([-1.0, -1.0, 1.0])
    voxel_mm = FOV_MM / MATRIX
    affine = np.eye(4)
    affine[:3, 0] = lps_to_ras @ READ_DIR * voxel_mm
    affine[:3, 1] = lps_to_ras @ PHASE_DIR * voxel_mm
    affine[:3, 2] = lps_to_ras @ SLICE_DIR * spacing_mm
    affine[:3, 3] = lps_to_ras @ FIRST_POSITION - affine[:3, :3] @ [MATRIX // 2, MATRIX // 2, 0]
    return affine


def small_scan(*, n_slices: int = 2, n_coils: int = 3, seed: int = 0) -> RawScan:
    rng = np.random.default_rng(seed)
    return RawScan(
        name="scan",
        kspace=complex_normal(rng, n_slices, n_coils, N_SPOKES, N_SAMPLES),
        trajectory=golden_angle_spokes(small_sequence()),
        noise=complex_normal(rng, n_coils, 100),
        affine=expected_affine(),
        matrix=MATRIX,
        fov=FOV_MM * 1e-3,
    )


def acquisition(scan: RawScan, s: int, spoke: int, trajectory: np.ndarray | None = None) -> ismrmrd.Acquisition:
    """One spoke with its counters and geometry; without a trajectory, that of the scan is stored."""
    trajectory = scan.trajectory[spoke] if trajectory is None else trajectory
    made = ismrmrd.Acquisition.from_array(
        np.ascontiguousarray(scan.kspace[s, :, spoke]), np.ascontiguousarray(trajectory, np.float32)
    )
    made.idx.kspace_encode_step_1, made.idx.slice = spoke, s
    made.center_sample = N_SAMPLES // 2
    made.position[:] = FIRST_POSITION + s * SPACING_MM * SLICE_DIR
    made.read_dir[:], made.phase_dir[:], made.slice_dir[:] = READ_DIR, PHASE_DIR, SLICE_DIR
    return made


def acquisitions(scan: RawScan, *, stored: bool = True, scale: float = 1.0) -> list[ismrmrd.Acquisition]:
    """All spokes, slice by slice; `scale` is what one cycle/FOV is in the unit to store."""
    trajectory = scan.trajectory * scale if stored else np.zeros((N_SPOKES, N_SAMPLES, 0))
    return [acquisition(scan, s, i, trajectory[i]) for s in range(scan.n_slices) for i in range(N_SPOKES)]


def noise_acquisition(noise: np.ndarray) -> ismrmrd.Acquisition:
    made = ismrmrd.Acquisition.from_array(np.ascontiguousarray(noise))
    made.setFlag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    return made


def flagged(made: ismrmrd.Acquisition, *flags: int) -> ismrmrd.Acquisition:
    for flag in flags:
        made.setFlag(flag)
    return made


def reversed_readout(made: ismrmrd.Acquisition) -> ismrmrd.Acquisition:
    """The same spoke, measured from its other end."""
    made.data[:] = made.data[:, ::-1].copy()
    made.traj[:] = made.traj[::-1].copy()
    made.center_sample = N_SAMPLES - 1 - N_SAMPLES // 2
    return flagged(made, ismrmrd.ACQ_IS_REVERSE)


def small_header(
    *,
    trajectory: str = "goldenangle",
    unit: str | None = "cycles/FOV",
    angle_deg: float | None = ANGLE_DEG,
    readouts_per_frame: int | None = 8,
    matrix: tuple[int, int] = (MATRIX, MATRIX),
    fov_mm: tuple[float, float] = (FOV_MM, FOV_MM),
    n_slices: int | None = None,
    te_ms: Iterable[float] = tuple(TE_MS),
    tr_ms: Iterable[float] = tuple(TR_MS),
    ti_ms: Iterable[float] = (TI_MS,),
    flip_deg: Iterable[float] = tuple(FLIP_DEG),
) -> str:
    def space(factor: int) -> xsd.encodingSpaceType:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=factor * matrix[0], y=matrix[1], z=1),
            fieldOfView_mm=xsd.fieldOfViewMm(x=factor * fov_mm[0], y=fov_mm[1], z=8.0),
        )

    slices = None if n_slices is None else xsd.limitType(minimum=0, maximum=n_slices - 1, center=0)
    described = xsd.trajectoryDescriptionType(identifier="radial")
    if unit is not None:
        described.userParameterString = [xsd.userParameterStringType(name="trajectory_unit", value=unit)]
    if angle_deg is not None:
        described.userParameterDouble = [xsd.userParameterDoubleType(name="angle_increment_deg", value=angle_deg)]
    if readouts_per_frame is not None:
        described.userParameterLong = [xsd.userParameterLongType(name="readouts_per_frame", value=readouts_per_frame)]
    encoding = xsd.encodingType(
        encodedSpace=space(2),
        reconSpace=space(1),
        encodingLimits=xsd.encodingLimitsType(slice=slices),
        trajectory=xsd.trajectoryType(trajectory),
        trajectoryDescription=described,
    )
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=123_200_000),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="Maker", systemFieldStrength_T=2.89
        ),
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType.HFS, protocolName="MRF"
        ),
        encoding=[encoding],
        sequenceParameters=xsd.sequenceParametersType(
            TE=[float(v) for v in te_ms],
            TR=[float(v) for v in tr_ms],
            TI=[float(v) for v in ti_ms],
            flipAngle_deg=[float(v) for v in flip_deg],
        ),
    )
    return xsd.ToXML(header)


def write_file(
    path: Path, made: Iterable[ismrmrd.Acquisition], header: str | None = None, group: str = "dataset"
) -> Path:
    with ismrmrd.Dataset(str(path), group) as file:
        file.write_xml_header((small_header() if header is None else header).encode())
        for one in made:
            file.append_acquisition(one)
    return path


def refused(path: Path, error: type[Exception], match: str, **changes: object) -> None:
    """Check that reading raises `error`, on one line that starts with the file's path."""
    with pytest.raises(error, match=match) as raised:
        read_ismrmrd(path, small_sequence(**changes))
    assert type(raised.value) is error
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
