# SPDX-License-Identifier: Apache-2.0
"""The lab's PostgreSQL: makes the cluster, runs the server without root's rights, makes databases and roles.

``privilege``  which user the server's programs run as
``cluster``    initdb, whole or not at all
``databases``  databases, and the role that may only read
"""
