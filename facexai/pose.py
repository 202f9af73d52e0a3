"""Head pose: yaw, pitch, roll in degrees, and the rotation they stand for."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pose:
    """Rotation of a head, in degrees.

    Convention:
        Head coordinates are x to the image's right, y up, z towards the camera; the identity looks into the camera.
        Positive yaw turns the face to its own left (the image's right), positive pitch turns it down, positive roll
        turns the head counter-clockwise as seen in the image. Roll is applied last: R = Rz(roll) Rx(pitch) Ry(yaw).
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def matrix(self) -> np.ndarray:
        """Rotation matrix R with `rotated = R @ point`. Shape (3, 3)."""
        yaw, pitch, roll = np.deg2rad([self.yaw, self.pitch, self.roll])
        cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
        about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        return about_z @ about_x @ about_y
