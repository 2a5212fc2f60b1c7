# SPDX-License-Identifier: Apache-2.0
"""Runbooks, on-call guide and architecture page: from profile, catalogue and evidence to Markdown and a site."""
