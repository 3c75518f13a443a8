"""Which of MuJoCo's stages the sensors of a model need."""

from __future__ import annotations

import mujoco

from envs.physics.interface import EngineUnavailable

_REFUSED = {
    mujoco.mjtSensor.mjSENS_CLOCK: "reads the time, which no state keeps",
    mujoco.mjtSensor.mjSENS_USER: "is computed by a callback, which no state keeps",
    mujoco.mjtSensor.mjSENS_PLUGIN: "is computed by a plugin, which may keep a state",
}


def stage(model: mujoco.MjModel) -> int:
    """Returns the stage (`mujoco.mjtStage`) up to which a state's sensors have to be computed.

    None without sensors, velocities for positions and velocities, accelerations where one reads
    a force or an acceleration: this costs as much as a physics step more.

    Raises:
        EngineUnavailable: what a sensor reads does not follow from the state.
    """
    for sensor, kind in enumerate(model.sensor_type):
        if (why := _REFUSED.get(mujoco.mjtSensor(kind))) is not None:
            name = model.sensor(sensor).name or f"number {sensor}"
            raise EngineUnavailable(f"the model's sensor {name} {why}: leave it out")
    if not model.nsensor:
        return int(mujoco.mjtStage.mjSTAGE_NONE)
    return max(int(model.sensor_needstage.max()), int(mujoco.mjtStage.mjSTAGE_VEL))
